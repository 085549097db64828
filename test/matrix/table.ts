// The matrix as Markdown. Pure.

import type { Obstacle, Outcome, Run } from '../lab/coexistence.ts';
import { PROBE_KINDS } from '../lab/agents.ts';

type Result = Run | Obstacle;

export const HEADING = `| neighbour | step | your rules | libvirt's | its own | taken for yours | guest's traffic | gone for ms | repairs | ms until right | told |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |`;

const INTRO = `# Beside real neighbours

What \`npm run matrix -- --write\` measured: each program itself, in a private host with libvirt 9.0, one guest, the rules of
\`test/lab/user-rules.ts\` and mendwall in merge mode, on the iptables-nft engine. Steps: the neighbour starts, rewrites a part of
its rules, reloads; somebody else runs \`iptables -F\`; the neighbour does what its owner is told to do then; it stops.

- *your rules*, *libvirt's*: \`whole\`, or what is wrong. *its own*: how many rules of its own stand after the step.
- *taken for yours*: rules of others that count as yours.
- *guest's traffic*: DHCP, DNS, NAT out and a port forward, after the step; *gone for ms*: the longest that one of them was gone
  during the step, by the neighbour's flush and before mendwall was through.
- *ms until right*: from the end of the neighbour's command until your rules and libvirt's were whole; 0: at the first look.
- *told*: what \`status\` says then of rules and policies.

A program that could not be had is \`skipped\`, with the reason, and proves nothing.
`;

export function rowsOf(guarded: Result, alone: Result | undefined): string[] {
  const { name } = guarded.neighbour;
  if ('obstacle' in guarded) return [`| ${name} | skipped: ${guarded.obstacle} |${' |'.repeat(9)}`];
  return guarded.outcomes.flatMap((outcome) => [
    rowOf(name, outcome),
    ...(alone !== undefined && 'outcomes' in alone
      ? alone.outcomes
          .filter(({ step }) => step === outcome.step)
          .map((each) => rowOf(`${name}, without mendwall`, each))
      : []),
  ]);
}

function rowOf(name: string, outcome: Outcome): string {
  const { step, failed, user, libvirt, own, taken, darkMs, repairs, rightMs } = outcome;
  const cells = [
    name,
    failed === undefined ? step : `${step} (failed: ${failed})`,
    faults(user),
    faults(libvirt),
    String(own.length),
    String(taken.length),
    trafficText(outcome),
    String(darkMs),
    String(repairs),
    rightMs === undefined ? 'never' : String(Math.round(rightMs)),
    toldText(outcome.told),
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

const faults = (list: readonly string[]): string =>
  list.length === 0 ? 'whole' : `${list.length} wrong: \`${list[0]}\`${list.length > 1 ? ' ...' : ''}`;

function trafficText({ traffic }: Outcome): string {
  const gone = PROBE_KINDS.filter((kind) => !traffic[kind]);
  return gone.length === 0 ? 'flows' : `no ${gone.join(', ')}`;
}

/** `policy ip filter (user) -P INPUT DROP` -> `policy`; each word once, with how often. */
function toldText(told: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of told.map((line) => line.split(' ')[0] ?? '')) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => (count === 1 ? word : `${word} x${count}`)).join(', ') || '-';
}

/** The whole page. `load`: of the machine when the run ended. */
export function page(
  results: readonly { readonly guarded: Result; readonly alone: Result | undefined }[],
  load: number,
): string {
  const versions = results.map(({ guarded }) =>
    'obstacle' in guarded
      ? `- ${guarded.neighbour.name}: skipped, ${guarded.obstacle}`
      : `- ${guarded.neighbour.name}: ${guarded.versions.join(', ')}${guarded.neighbour.note === undefined ? '' : `. ${guarded.neighbour.note}`}`,
  );
  const rows = results.flatMap(({ guarded, alone }) => rowsOf(guarded, alone));
  return [
    INTRO,
    ...versions,
    '',
    `Measured on Debian 12 with ${load.toFixed(0)} runnable processes on the machine's CPUs: ms are those of this run.`,
    '',
    HEADING,
    ...rows,
    '',
  ].join('\n');
}
