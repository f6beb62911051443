import { pieces } from "@/lib/visible";
import { cx } from "./parts";

/**
 * Foreign text, inert: React text nodes alone, isolated in its direction, with what can't be seen written out. No link
 * in it can be followed, and nothing in it is loaded.
 */
export function Inert({ text, className }: { text: string; className?: string }) {
  return (
    <bdi dir="auto" className={cx("inert", className)}>
      {pieces(text).map((piece, index) =>
        piece.isUnseen ? (
          <mark key={index} className="rounded bg-danger-soft px-0.5 font-mono text-[0.85em] text-danger">
            {piece.text}
          </mark>
        ) : (
          piece.text
        ),
      )}
    </bdi>
  );
}

/** A whole text on its sheet, as it would be read. */
export function Letter({ text, quiet = false }: { text: string; quiet?: boolean }) {
  return (
    <div className={cx("px-4 py-4", quiet ? "text-[0.9375rem] leading-normal text-soft" : "text-[1.0625rem] leading-relaxed")}>
      {text.trim() ? <Inert text={text} className="block" /> : <span className="text-soft">(no text)</span>}
    </div>
  );
}

/** A file as it lies there. */
export function Source({ text, label = "File as text" }: { text: string; label?: string }) {
  return (
    <pre className="overflow-x-auto px-4 py-3 font-mono text-[0.8125rem] leading-normal" tabIndex={0} role="region" aria-label={label}>
      <Inert text={text} />
    </pre>
  );
}
