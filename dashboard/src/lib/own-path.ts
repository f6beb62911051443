/** `value` where it is a path of our own pages, else `/`: nobody is sent elsewhere after a login. */
export function ownPath(value: string | null | undefined): string {
  return value && /^\/(?![/\\])[\w\-./~%]*$/.test(value) && !value.startsWith("/login") ? value : "/";
}
