"use client";

import { ArrowLeft } from "lucide-react";
import Link from "next/link";
import type { TaskDetail } from "@/api/types";
import { actionName, plain, STAGES } from "@/lib/words";
import { useApi } from "@/live/use-api";
import { Page, Shown } from "@/ui/page";
import { Card, Chip, Facts, Notice, Section } from "@/ui/parts";
import { Inert, Source } from "@/ui/text";
import { Time } from "@/ui/time";

/** One task from its first line to where it lies now. */
export function TaskHistory({ id }: { id: string }) {
  const loaded = useApi<TaskDetail>(`/api/tasks/${encodeURIComponent(id)}`, { keepPreviousData: false });
  return (
    <>
      <Link href="/tasks" prefetch={false} className="mb-3 inline-flex min-h-11 items-center gap-2 text-soft hover:text-ink">
        <ArrowLeft aria-hidden className="size-4" /> All tasks
      </Link>
      {loaded.data === undefined && loaded.problem ? (
        <Page title="No such task">
          <Notice tone="warn">{loaded.problem.message}</Notice>
        </Page>
      ) : (
        <Shown of={loaded}>{(task) => <Whole task={task} />}</Shown>
      )}
    </>
  );
}

function Whole({ task }: { task: TaskDetail }) {
  return (
    <Page
      title={task.title ?? task.id}
      lead={
        <span className="flex flex-wrap gap-2">
          <Chip tone="accent">{STAGES[task.stage]}</Chip>
          <Chip>{task.action ? actionName(task.action) : plain(task.domain)}</Chip>
          {task.priority && <Chip>{plain(task.priority)} priority</Chip>}
        </span>
      }
    >
      <div className="gap-x-10 xl:grid xl:grid-cols-[3fr_2fr]">
        <div className="space-y-5">
          {task.problems.map((words) => (
            <Notice key={words} tone="danger">
              <Inert text={words} />
            </Notice>
          ))}
          <Section title="The file">
            <Card>
              <Source text={task.content} label="The file" />
            </Card>
          </Section>
          {task.plan && (
            <Section title="The plan">
              <Card>
                <Source text={task.plan} label="The plan" />
              </Card>
            </Section>
          )}
        </div>
        <div className="mt-8 xl:mt-0">
          <Section title="History">
            {task.history.length === 0 ? (
              <p className="text-soft">The log says nothing of it: a person put it here by hand.</p>
            ) : (
              <History history={task.history} />
            )}
          </Section>
          {task.requests.length > 0 && (
            <Section title="Its requests">
              <Card>
                <ul className="divide-y divide-line">
                  {task.requests.map((request) => (
                    <li key={request.id}>
                      <Link
                        href={`${request.stage === "pending_approval" ? "/approvals" : "/tasks"}/${encodeURIComponent(request.id)}`}
                        prefetch={false}
                        className="flex flex-wrap items-center justify-between gap-2 px-4 py-3 outline-offset-[-2px] hover:bg-sunk"
                      >
                        <span className="font-mono text-sm [overflow-wrap:anywhere]">{request.id}</span>
                        <Chip>{STAGES[request.stage]}</Chip>
                      </Link>
                    </li>
                  ))}
                </ul>
              </Card>
            </Section>
          )}
          <Section title="Facts">
            <Card>
              <Facts
                facts={[
                  ["Lies at", <Inert key="p" text={task.path} className="font-mono text-sm" />],
                  ...(task.also_at.length > 0 ? ([["Also at", <Inert key="a" text={task.also_at.join("\n")} className="font-mono text-sm" />]] as const) : []),
                  ["Made by", task.created_by ?? "a person"],
                  ["Who does it", task.agent ?? task.zone ?? "nobody now"],
                ]}
              />
            </Card>
          </Section>
        </div>
      </div>
    </Page>
  );
}

function History({ history }: { history: TaskDetail["history"] }) {
  return (
    <ol className="relative ml-1.5 space-y-4 border-l border-line pl-5">
      {history.map((entry, index) => (
        <li key={index} className="relative">
          <span aria-hidden className="absolute -left-[1.6rem] top-1.5 size-2.5 rounded-full bg-accent" />
          <p className="font-medium">
            {plain(entry.event ?? "moved")}
            {(entry.by ?? entry.agent) && <span className="font-normal text-soft"> by {entry.by ?? entry.agent}</span>}
          </p>
          <p className="text-sm text-soft">
            {entry.at && <Time exact at={entry.at} />}
            {entry.to && (
              <span className="block [overflow-wrap:anywhere]">
                to <Inert text={entry.to.split("/").slice(0, -1).join("/") || entry.to} />
              </span>
            )}
            {entry.reason && <Inert text={entry.reason} className="block" />}
          </p>
        </li>
      ))}
    </ol>
  );
}
