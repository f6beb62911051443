"use client";

import { Search } from "lucide-react";
import Link from "next/link";
import { useDeferredValue, useState } from "react";
import type { Domain, Stage, Task } from "@/api/types";
import { actionName, plain, STAGES } from "@/lib/words";
import { useList } from "@/live/use-api";
import { More, Page, Shown } from "@/ui/page";
import { Card, Chip, Choice, Empty, FIELD } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

const DOMAINS: readonly (readonly [Domain | "", string])[] = [
  ["", "All"],
  ["email", "E-mail"],
  ["social", "Social"],
  ["accounting", "Accounting"],
  ["general", "General"],
];

/** From left to right as a task goes. */
const BOARD = Object.keys(STAGES) as Stage[];

/** Every task of the vault: a board by stage, of one domain or all; or what a search finds. */
export function Tasks() {
  const [domain, setDomain] = useState<Domain | "">("");
  const [words, setWords] = useState("");
  const sought = useDeferredValue(words.trim());
  return (
    <Page
      title="Tasks"
      lead="The folder a task lies in is its stage."
      side={<Choice label="Domain" value={domain} options={DOMAINS} onChange={setDomain} />}
    >
      <label className="relative mb-5 block max-w-xl">
        <span className="sr-only">Search tasks</span>
        <Search aria-hidden className="pointer-events-none absolute left-3.5 top-3.5 size-[1.125rem] text-soft" />
        <input
          type="search"
          className={`${FIELD} pl-10`}
          placeholder="Subject, sender or id"
          value={words}
          onChange={(event) => setWords(event.target.value)}
        />
      </label>
      {sought ? <Found words={sought} domain={domain} /> : <Board domain={domain} />}
    </Page>
  );
}

function Found({ words, domain }: { words: string; domain: Domain | "" }) {
  const list = useList<Task>("/api/tasks", { q: words, domain });
  return (
    <Shown of={list}>
      {({ items }) =>
        items.length === 0 ? (
          <Empty icon={Search} title="Nothing found">
            The search looks at subject, sender and id{list.isAll ? "." : " of the newest tasks. Choose a domain to look further."}
          </Empty>
        ) : (
          <>
            <Card>
              <ul className="divide-y divide-line">
                {items.map((task) => (
                  <li key={task.path}>
                    <Line task={task} stage />
                  </li>
                ))}
              </ul>
            </Card>
            <More more={list.more} isAll={list.isAll} shown={items.length} />
          </>
        )
      }
    </Shown>
  );
}

function Board({ domain }: { domain: Domain | "" }) {
  return (
    <div
      role="region"
      aria-label="Board"
      tabIndex={0}
      className="-mx-4 flex snap-x snap-mandatory gap-4 overflow-x-auto scroll-smooth px-4 pb-4 [scroll-padding-inline:1rem] sm:mx-0 sm:px-0"
    >
      {BOARD.map((stage) => (
        <Column key={stage} stage={stage} domain={domain} />
      ))}
    </div>
  );
}

function Column({ stage, domain }: { stage: Stage; domain: Domain | "" }) {
  const list = useList<Task>("/api/tasks", { stage, domain });
  return (
    <section className="w-[85vw] max-w-xs shrink-0 snap-start" aria-label={STAGES[stage]}>
      <h2 className="mb-2 flex items-center justify-between text-[0.9375rem] font-semibold text-soft">
        {STAGES[stage]}
        {list.items && (
          <span className="font-normal">
            {list.items.length}
            {!list.isAll && "+"}
          </span>
        )}
      </h2>
      <Shown of={list}>
        {({ items }) =>
          items.length === 0 ? (
            <p className="rounded-card border border-dashed border-line px-4 py-6 text-center text-sm text-soft">
              {EMPTY[stage]}
            </p>
          ) : (
            <>
              <Card>
                <ul className="divide-y divide-line">
                  {items.map((task) => (
                    <li key={task.path}>
                      <Line task={task} />
                    </li>
                  ))}
                </ul>
              </Card>
              <More more={list.more} isAll={list.isAll} shown={items.length} />
            </>
          )
        }
      </Shown>
    </section>
  );
}

const EMPTY: Record<Stage, string> = {
  inbox: "Drop a note into Inbox/, and it becomes a task.",
  needs_action: "Nothing is to be taken up.",
  in_progress: "Nobody works on anything.",
  pending_approval: "Nothing waits for your word.",
  approved: "Nothing approved waits to be carried out.",
  rejected: "You turned nothing down.",
  done: "What is finished lies here with its receipt.",
  quarantine: "Every file could be read.",
};

function Line({ task, stage = false }: { task: Task; stage?: boolean }) {
  return (
    <Link
      href={`/tasks/${encodeURIComponent(task.id)}`}
      prefetch={false}
      className="block px-4 py-3 outline-offset-[-2px] hover:bg-sunk"
    >
      <span className="line-clamp-2 font-medium">
        <Inert text={task.title ?? task.id} />
      </span>
      <span className="mt-1 flex flex-wrap items-center gap-x-2 gap-y-1 text-sm text-soft">
        {task.sender && <Inert text={task.sender} className="truncate" />}
        {stage && <Chip>{STAGES[task.stage]}</Chip>}
        <span>{task.action ? actionName(task.action) : plain(task.domain)}</span>
        {(task.agent ?? task.zone) && <span>{task.agent ?? task.zone}</span>}
        {task.created && (
          <span>
            <Time at={task.created} />
          </span>
        )}
        {(task.priority === "high" || task.priority === "urgent") && <Chip tone="warn">{plain(task.priority)}</Chip>}
        {task.problems.length > 0 && <Chip tone="danger">Problem</Chip>}
      </span>
    </Link>
  );
}
