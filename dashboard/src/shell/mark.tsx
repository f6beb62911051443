/** Our mark: a sheet with its corner turned, and a tick. The icons are made from the same shapes (`scripts/icons.mjs`). */
export function Mark({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 64 64" className={className} aria-hidden focusable="false">
      <rect width="64" height="64" rx="15" fill="var(--accent)" />
      <path d="M19 14h19l9 9v27H19z" fill="var(--on-accent)" />
      <path d="M38 14v9h9" fill="none" stroke="var(--accent)" strokeWidth="2.5" />
      <path d="m25.500 36 5.500 5.500 10-11" fill="none" stroke="var(--accent)" strokeWidth="4" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
