import { diffLines, diffWordsWithSpace } from "diff";
import { Inert } from "@/ui/text";

const LONGEST = 20_000;

interface Change {
  kind: "same" | "removed" | "added";
  text: string;
}

/**
 * The changes from `before` to `after`, in words; what stands between two changes and is but a space belongs to them, so
 * that a person reads "Kind regards" → "Send money", not every word beside its other. Pure.
 */
export function changes(before: string, after: string): Change[] {
  const found = before.length + after.length > LONGEST ? diffLines(before, after) : diffWordsWithSpace(before, after);
  const told: Change[] = [];
  let [removed, added] = ["", ""];
  function close(): void {
    if (removed) told.push({ kind: "removed", text: removed });
    if (added) told.push({ kind: "added", text: added });
    [removed, added] = ["", ""];
  }
  found.forEach((part, index) => {
    const isBetween = /^[ \t]+$/.test(part.value) && (removed !== "" || added !== "") && index + 1 < found.length;
    if (part.removed) removed += part.value;
    else if (part.added) added += part.value;
    else if (isBetween) {
      removed += part.value;
      added += part.value;
    } else {
      close();
      told.push({ kind: "same", text: part.value });
    }
  });
  close();
  return told;
}

/** What became of a text: what went is struck out, what came is underlined; neither is told by colour alone. */
export function Difference({ before, after }: { before: string; after: string }) {
  return (
    <div className="px-4 py-4 text-[0.9375rem] leading-relaxed" data-testid="difference">
      {changes(before, after).map(({ kind, text }, index) =>
        kind === "removed" ? (
          <del key={index} className="rounded-sm bg-danger-soft text-danger">
            <Inert text={text} />
          </del>
        ) : kind === "added" ? (
          <ins key={index} className="rounded-sm bg-good-soft text-good">
            <Inert text={text} />
          </ins>
        ) : (
          <Inert key={index} text={text} />
        ),
      )}
    </div>
  );
}
