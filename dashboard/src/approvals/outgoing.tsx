import type { Approval, ApprovalDetail } from "@/api/types";
import { Card, Chip, Facts } from "@/ui/parts";
import { Inert, Letter } from "@/ui/text";

const TEXT = "Text";

/** Exactly what would go out, as the code that carries it out tells it: who gets it, and every word. */
export function Outgoing({ approval, recipients = [] }: { approval: Approval; recipients?: ApprovalDetail["recipients"] }) {
  const text = approval.shown.find((line) => line.label === TEXT);
  const facts = approval.shown
    .filter((line) => line !== text)
    .map((line, index) => {
      const people = recipients.filter((person) => person.field === line.label.toLowerCase());
      return [
        line.label,
        people.length > 0 ? <People key={index} people={people} text={line.text} /> : <Inert key={index} text={line.text} />,
      ] as const;
    });
  return (
    <Card>
      <Facts facts={facts} />
      {text && (
        <div className="border-t border-line">
          <Letter text={text.text} />
        </div>
      )}
    </Card>
  );
}

/** The line as it goes out, and below it what this node knows of those it names. */
function People({ people, text }: { people: ApprovalDetail["recipients"]; text: string }) {
  return (
    <>
      <Inert text={text} />
      <span className="mt-1 flex flex-wrap gap-1.5">
        {people.map((person) => (
          <Chip key={person.shown} tone={person.known ? "good" : "plain"}>
            {people.length > 1 && (
              <>
                <Inert text={person.shown} />
                {": "}
              </>
            )}
            {[person.wrote && "wrote the mail", person.known === true && "written to before", person.known === false && "new"].filter(Boolean).join(", ") || "not known here"}
          </Chip>
        ))}
      </span>
    </>
  );
}
