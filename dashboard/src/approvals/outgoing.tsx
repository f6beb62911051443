import type { Approval } from "@/api/types";
import { Card, Facts } from "@/ui/parts";
import { Inert, Letter } from "@/ui/text";

const TEXT = "Text";

/** Exactly what would go out, as the code that carries it out tells it: who gets it, and every word. */
export function Outgoing({ approval }: { approval: Approval }) {
  const text = approval.shown.find((line) => line.label === TEXT);
  const facts = approval.shown
    .filter((line) => line !== text)
    .map((line) => [line.label, <Inert key={line.label} text={line.text} />] as const);
  return (
    <Card>
      <Facts facts={facts} />
      {text && (
        <div className="border-t border-line bg-sheet">
          <Letter text={text.text} />
        </div>
      )}
    </Card>
  );
}
