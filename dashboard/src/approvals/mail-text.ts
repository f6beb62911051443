/** The mail in a task file: what stands quoted below `## Mail`; where there is none, all but the properties. Pure. */
export function mailText(file: string): string {
  const body = file.replace(/^---\n[\s\S]*?\n---\n/, "");
  const mail = /^## Mail\n+([\s\S]*)$/m.exec(body)?.[1];
  return (mail ?? body)
    .split("\n")
    .map((line) => (mail === undefined ? line : line.replace(/^> ?/, "")))
    .join("\n")
    .trim();
}
