import { diffLines, diffWordsWithSpace } from "diff";
import { Inert } from "@/ui/text";

const LONGEST = 20_000;

/** What became of a text: what went is struck out, what came is underlined; neither is told by colour alone. */
export function Difference({ before, after }: { before: string; after: string }) {
  const changes = before.length + after.length > LONGEST ? diffLines(before, after) : diffWordsWithSpace(before, after);
  return (
    <div className="px-4 py-4 text-[0.9375rem] leading-relaxed" data-testid="difference">
      {changes.map((change, index) =>
        change.removed ? (
          <del key={index} className="rounded-sm bg-danger-soft text-danger">
            <Inert text={change.value} />
          </del>
        ) : change.added ? (
          <ins key={index} className="rounded-sm bg-good-soft text-good">
            <Inert text={change.value} />
          </ins>
        ) : (
          <Inert key={index} text={change.value} />
        ),
      )}
    </div>
  );
}
