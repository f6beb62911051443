"use client";

import { ArrowLeftRight, Cloud, House } from "lucide-react";
import { useState } from "react";
import { useSWRConfig } from "swr";
import { call, Problem } from "@/api/client";
import type { ZonesHealth, ZonesStatus, ZoneSwitched } from "@/api/types";
import { milliseconds } from "@/lib/time";
import { plain } from "@/lib/words";
import { useApi } from "@/live/use-api";
import { Dialog } from "@/ui/dialog";
import { Page, Shown } from "@/ui/page";
import { Button, Card, Chip, Empty, Facts, Field, FIELD, Notice, Section } from "@/ui/parts";
import { Inert } from "@/ui/text";
import { Time } from "@/ui/time";

type Zone = ZonesStatus["active_zone"];

const NAMES: Record<Zone, string> = { local: "Local", cloud: "Cloud" };
const ICONS = { local: House, cloud: Cloud };
const STATES: Record<ZonesStatus["state"], string> = {
  active: "This node holds the lease",
  passive: "The other zone holds the lease",
  unsure: "The lease could not be renewed in time: only reading",
  pinned: "A person chose the zone: nothing changes by itself",
  frozen: "It changed by itself too often: only a person changes it",
};

/** Which zone does the work of the active zone, why, and the human's switch. */
export function Zones() {
  const status = useApi<ZonesStatus>("/api/zones/status");
  const health = useApi<ZonesHealth>("/api/zones/health");
  return (
    <Page title="Zones" lead="Exactly one zone does the work of the active zone. The Cloud drafts only, whichever it is.">
      <Shown of={status}>
        {(zones) => (
          <>
            <Active zones={zones} />
            <Section title="Health of both zones">
              <Shown of={health}>{(known) => <Both health={known} />}</Shown>
            </Section>
            <Section title="Who does what">
              <Routing routing={zones.routing} />
            </Section>
            <Section title="History">
              <History history={zones.history} />
            </Section>
          </>
        )}
      </Shown>
    </Page>
  );
}

function Active({ zones }: { zones: ZonesStatus }) {
  const [target, setTarget] = useState<Zone | null>(null);
  const [said, setSaid] = useState<string>();
  const Icon = ICONS[zones.active_zone];
  const other: Zone = zones.active_zone === "local" ? "cloud" : "local";
  return (
    <Card>
      <div className="flex flex-wrap items-center gap-4 px-4 py-5">
        <span className="grid size-12 place-items-center rounded-full bg-accent-soft text-accent">
          <Icon aria-hidden className="size-6" />
        </span>
        <div className="min-w-0 flex-1">
          <p className="text-xl font-semibold tracking-tight">{NAMES[zones.active_zone]} is active</p>
          <p className="text-soft">
            <Inert text={zones.reason} />
          </p>
        </div>
        <Button icon={ArrowLeftRight} onClick={() => setTarget(other)} className="basis-full sm:basis-auto">
          Switch to {NAMES[other]}
        </Button>
      </div>
      <div className="border-t border-line">
        <Facts
          facts={[
            ["This node", `${NAMES[zones.this_zone]}, ${zones.mode === "draft_only" ? "drafts only" : "carries out what is approved"}`],
            ["Lease", STATES[zones.state]],
            ["Term", zones.term],
            ...(zones.since ? ([["Since", <Time key="s" exact at={zones.since} />]] as const) : []),
            ...(zones.waits ? ([["Waits", <Inert key="w" text={zones.waits} />]] as const) : []),
            [
              "Failover",
              zones.failover.enabled
                ? `after ${zones.failover.threshold} failed checks in a row, one every ${zones.failover.interval_seconds} s`
                : "off",
            ],
          ]}
        />
      </div>
      {said && (
        <div className="border-t border-line p-4">
          <Notice tone="warn" live="polite">
            {said}
          </Notice>
        </div>
      )}
      {target && <Switch zones={zones} target={target} onClose={() => setTarget(null)} onDone={setSaid} />}
    </Card>
  );
}

interface SwitchProps {
  zones: ZonesStatus;
  target: Zone;
  onClose: () => void;
  onDone: (warning: string | undefined) => void;
}

function Switch({ zones, target, onClose, onDone }: SwitchProps) {
  const { mutate } = useSWRConfig();
  const [term] = useState(zones.term); // the one that the question was asked in
  const [reason, setReason] = useState("");
  const [pin, setPin] = useState(true);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();

  async function submit(): Promise<void> {
    setBusy(true);
    setProblem(undefined);
    try {
      const body = { zone: target, expected_term: term, pin, ...(reason && { reason }) };
      const done = await call<ZoneSwitched>("POST", "/api/zones/switch", body);
      onDone(done.warning);
      onClose();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.kind === "stale-term" ? "It was switched meanwhile. Close this and look again." : error.message);
    } finally {
      setBusy(false);
      void mutate((key) => typeof key === "string" && key.startsWith("/api/zones"));
    }
  }

  return (
    <Dialog
      open
      onClose={onClose}
      title={`Make ${NAMES[target]} active?`}
      description="The zone that hands over finishes what it has in hand; the other one waits for that."
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" busy={busy} onClick={() => void submit()}>
            Switch to {NAMES[target]}
          </Button>
        </>
      }
    >
      <Field label="Why (for the history)">
        <input className={FIELD} value={reason} maxLength={200} onChange={(event) => setReason(event.target.value)} />
      </Field>
      <label className="flex min-h-11 items-center gap-3">
        <input type="checkbox" className="size-5 accent-accent" checked={pin} onChange={(event) => setPin(event.target.checked)} />
        Pin it: the machine must not undo this
      </label>
      {problem && (
        <Notice tone="danger" live="assertive">
          {problem}
        </Notice>
      )}
    </Dialog>
  );
}

function Both({ health }: { health: ZonesHealth }) {
  return (
    <div className="grid gap-3 sm:grid-cols-2">
      {Object.entries(health.zones).map(([name, zone]) => (
        <Card key={name} className="px-4 py-3.5">
          <div className="flex items-center justify-between gap-3">
            <p className="font-semibold">{NAMES[name as Zone] ?? name}</p>
            <Chip tone={zone.healthy === null ? "plain" : zone.healthy ? "good" : "danger"}>
              {zone.healthy === null ? "Not known" : zone.healthy ? "Well" : "Does not answer"}
            </Chip>
          </div>
          <p className="mt-1 text-sm text-soft">
            {zone.method === "http" ? "asked over HTTP" : "known by its heartbeat"}
            {zone.latency_ms !== null && `, ${milliseconds(zone.latency_ms)}`}
            {zone.checked_at && (
              <>
                , <Time at={zone.checked_at} />
              </>
            )}
            {zone.error && <Inert text={zone.error} className="block" />}
          </p>
        </Card>
      ))}
    </div>
  );
}

function Routing({ routing }: { routing: ZonesStatus["routing"] }) {
  return (
    <Card>
      <table className="w-full text-left text-[0.9375rem]">
        <thead className="text-sm text-soft">
          <tr>
            <th className="px-4 py-2.5 font-normal">Task type</th>
            <th className="px-4 py-2.5 font-normal">Rule</th>
            <th className="px-4 py-2.5 font-normal">Done by</th>
          </tr>
        </thead>
        <tbody className="divide-y divide-line border-t border-line">
          {Object.entries(routing).map(([type, route]) => (
            <tr key={type}>
              <td className="px-4 py-2.5">{plain(type)}</td>
              <td className="px-4 py-2.5 text-soft">{route.rule === "active" ? "the active zone" : route.rule === "both" ? "both" : `${route.rule} only`}</td>
              <td className="px-4 py-2.5">{NAMES[route.zone as Zone] ?? plain(route.zone)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function History({ history }: { history: ZonesStatus["history"] }) {
  if (history.length === 0) {
    return (
      <Empty icon={ArrowLeftRight} title="No zone ever changed">
        Each change of the active zone is written down here, with who began it and why.
      </Empty>
    );
  }
  return (
    <Card>
      <ol className="divide-y divide-line">
        {(history as Record<string, unknown>[]).map((entry, index) => (
          <li key={index} className="px-4 py-3">
            <p className="font-medium">
              {NAMES[entry.to as Zone] ?? ""}
              {entry.term !== undefined && <span className="font-normal text-soft"> · term {String(entry.term)}</span>}
            </p>
            <p className="text-sm text-soft">
              {typeof entry.at === "string" && <Time exact at={entry.at} />}
              {typeof entry.by === "string" && ` · by ${entry.by}`}
              {typeof entry.reason === "string" && entry.reason && <Inert text={entry.reason} className="block" />}
            </p>
          </li>
        ))}
      </ol>
    </Card>
  );
}
