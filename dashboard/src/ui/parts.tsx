/** The few parts that every page is made of. */
import type { ButtonHTMLAttributes, ReactNode } from "react";
import { AlertTriangle, CircleCheck, Info, OctagonAlert, type LucideIcon } from "lucide-react";

export type Tone = "plain" | "accent" | "good" | "warn" | "danger";

const TONES: Record<Tone, string> = {
  plain: "bg-sunk text-ink",
  accent: "bg-accent-soft text-accent",
  good: "bg-good-soft text-good",
  warn: "bg-warn-soft text-warn",
  danger: "bg-danger-soft text-danger",
};

export function cx(...names: (string | false | undefined)[]): string {
  return names.filter(Boolean).join(" ");
}

/** A sheet of paper that lies on the page. */
export function Card({ children, className }: { children: ReactNode; className?: string }) {
  return (
    <div className={cx("min-w-0 overflow-hidden rounded-card border border-line bg-sheet", className)}>{children}</div>
  );
}

export function Section({ title, side, children }: { title: string; side?: ReactNode; children: ReactNode }) {
  return (
    <section className="mt-8 first:mt-0">
      <div className="mb-2 flex min-h-8 items-center justify-between gap-3">
        <h2 className="text-[0.9375rem] font-semibold text-soft">{title}</h2>
        {side}
      </div>
      {children}
    </section>
  );
}

/** A word that says how a thing stands. */
export function Chip({ tone = "plain", children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span className={cx("inline-flex shrink-0 items-center rounded-full px-2.5 py-0.5 text-[0.8125rem] font-medium", TONES[tone])}>
      {children}
    </span>
  );
}

const ICONS: Record<Tone, LucideIcon> = {
  plain: Info,
  accent: Info,
  good: CircleCheck,
  warn: AlertTriangle,
  danger: OctagonAlert,
};

/** A sentence to be noticed. `live`: it is read out when it appears. */
export function Notice({ tone, children, live }: { tone: Tone; children: ReactNode; live?: "polite" | "assertive" }) {
  const Icon = ICONS[tone];
  return (
    <div
      role={live === "assertive" ? "alert" : live ? "status" : undefined}
      className={cx("flex items-start gap-3 rounded-card px-4 py-3 text-[0.9375rem] leading-snug", TONES[tone])}
    >
      <Icon aria-hidden className="mt-0.5 size-[1.125rem] shrink-0" />
      <div className="min-w-0 flex-1 [overflow-wrap:anywhere]">{children}</div>
    </div>
  );
}

/** What a page says while there is nothing on it: why, and what would bring something. */
export function Empty({ icon: Icon, title, children }: { icon: LucideIcon; title: string; children?: ReactNode }) {
  return (
    <div className="flex flex-col items-center rounded-card border border-dashed border-line px-6 py-12 text-center">
      <span className="mb-4 grid size-12 place-items-center rounded-full bg-accent-soft text-accent">
        <Icon aria-hidden className="size-6" />
      </span>
      <p className="text-lg font-semibold">{title}</p>
      {children && <div className="mt-2 max-w-md text-[0.9375rem] text-soft">{children}</div>}
    </div>
  );
}

const BUTTONS = {
  primary: "bg-accent text-on-accent hover:opacity-90",
  danger: "bg-danger text-sheet hover:opacity-90",
  quiet: "border border-edge bg-sheet text-ink hover:bg-sunk",
  bare: "text-soft hover:bg-sunk hover:text-ink",
};

export type ButtonKind = keyof typeof BUTTONS;

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: ButtonKind;
  icon?: LucideIcon;
  /** It is at work: it can't be pressed, and says so. */
  busy?: boolean;
}

export function Button({ kind = "quiet", icon: Icon, busy = false, children, className, disabled, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      disabled={disabled || busy}
      aria-busy={busy || undefined}
      className={cx(buttonLook(kind), busy && "pulse", className)}
    >
      {Icon && <Icon aria-hidden className="size-[1.125rem] shrink-0" />}
      {children}
    </button>
  );
}

export function buttonLook(kind: ButtonKind): string {
  return cx(
    "inline-flex min-h-11 items-center justify-center gap-2 rounded-full px-4 py-2 text-[0.9375rem] font-medium",
    "transition-[opacity,background-color] disabled:cursor-not-allowed disabled:opacity-55",
    BUTTONS[kind],
  );
}

/** Names and values, one below the other on a phone. Values may be foreign text. */
export function Facts({ facts }: { facts: readonly (readonly [label: string, value: ReactNode])[] }) {
  return (
    <dl className="divide-y divide-line">
      {facts.map(([label, value], index) => (
        <div key={`${label}-${index}`} className="grid gap-x-4 px-4 py-2.5 sm:grid-cols-[9rem_1fr]">
          <dt className="text-sm text-soft sm:pt-px">{label}</dt>
          <dd className="min-w-0 [overflow-wrap:anywhere]">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Grey lines where something is still to come. */
export function Skeleton({ lines = 3 }: { lines?: number }) {
  return (
    <div role="status" className="space-y-3 rounded-card border border-line bg-sheet p-4">
      <span className="sr-only">Loading</span>
      {Array.from({ length: lines }, (_, index) => (
        <div key={index} aria-hidden className="pulse h-4 rounded bg-sunk odd:w-2/3" />
      ))}
    </div>
  );
}

export const FIELD =
  "w-full rounded-lg border border-edge bg-sheet px-3 py-2.5 text-base text-ink placeholder:text-soft";

/** A labelled input. */
export function Field({ label, hint, children }: { label: string; hint?: string; children: ReactNode }) {
  return (
    <label className="block">
      <span className="mb-1 block text-sm font-medium">{label}</span>
      {children}
      {hint && <span className="mt-1 block text-sm text-soft">{hint}</span>}
    </label>
  );
}

interface ChoiceProps<Value extends string> {
  label: string;
  value: Value;
  options: readonly (readonly [value: Value, label: string])[];
  onChange: (value: Value) => void;
}

/** A filter: a select, which is the platform's own on a phone. */
export function Choice<Value extends string>({ label, value, options, onChange }: ChoiceProps<Value>) {
  return (
    <label className="flex min-w-0 items-center gap-2 text-sm text-soft">
      {label}
      <select
        value={value}
        onChange={(event) => onChange(event.target.value as Value)}
        className="min-h-11 min-w-0 rounded-full border border-edge bg-sheet px-3 text-[0.9375rem] text-ink"
      >
        {options.map(([option, name]) => (
          <option key={option} value={option}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
