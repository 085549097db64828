// The test's side of agent.ts: starts it in a place and talks to it.

import { transformSync } from 'esbuild';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { REPOSITORY, type Namespaces } from './namespaces.ts';
import type { LabProcess, Place } from './place.ts';

export const PROBE_KINDS = ['dhcp', 'dns', 'natOut', 'portForwardIn'] as const;
export type ProbeKind = (typeof PROBE_KINDS)[number];

/** One probe that was sent. Times are CLOCK_MONOTONIC in ms, as `monoMs()` gives them. */
export interface Sample {
  readonly kind: ProbeKind;
  readonly sentMs: number;
  readonly ok: boolean;
  readonly tookMs: number;
  /** What came, or why nothing did. */
  readonly detail: string;
}

export interface Agent {
  once(kind: ProbeKind, target: string): Promise<Sample>;
  /** Sends one probe each `everyMs` until `stop`. Several kinds may run at once. */
  start(kind: ProbeKind, target: string, everyMs: number): void;
  /** Stops all kinds, waits for the answers under way, and gives every sample since `start`. */
  stop(): Promise<readonly Sample[]>;
}

type Answer = { readonly id?: number; readonly sample?: Sample; readonly samples?: readonly Sample[] };

/** CLOCK_MONOTONIC in ms: comparable with the times of samples. */
export function monoMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export async function startAgent(namespaces: Namespaces, place: Place, name: string): Promise<Agent> {
  const script = `/run/lab/agent-${name}.cjs`;
  writeFileSync(namespaces.outerPath(script), agentJavaScript());
  const program = place.spawn('node', [script]);
  const awaited = new Map<number, (answer: Answer) => void>();
  let lastId = 0;
  program.onLine((line) => {
    const answer = JSON.parse(line) as Answer;
    if (answer.id !== undefined) awaited.get(answer.id)?.(answer);
  });
  await program.waitFor(/"ready":true/);
  const ask = (command: Record<string, unknown>): Promise<Answer> => {
    const id = ++lastId;
    return new Promise((resolve, reject) => {
      awaited.set(id, resolve);
      void program.ended.then(() => reject(new Error(`the agent in ${name} ended:\n${program.lines.join('\n')}`)));
      send(program, { ...command, id });
    });
  };
  return {
    once: async (kind, target) => (await ask({ op: 'once', kind, target })).sample!,
    start: (kind, target, everyMs) => send(program, { op: 'start', kind, target, everyMs }),
    stop: async () => (await ask({ op: 'stop' })).samples!,
  };
}

function send(program: LabProcess, command: Record<string, unknown>): void {
  program.write(JSON.stringify(command) + '\n');
}

function agentJavaScript(): string {
  const source = readFileSync(join(REPOSITORY, 'test/lab/agent.ts'), 'utf8');
  return transformSync(source, { loader: 'ts', format: 'cjs', target: 'node20' }).code;
}
