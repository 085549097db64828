import { describeDrift } from '../merge/drift.ts';
import { status, type StatusResult } from '../verbs/status.ts';
import { askDaemon } from './call-verb.ts';
import { columns, localTime, paint, ruleCounts } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, exitOfDrift } from './exit-codes.ts';
import { addTail } from './help.ts';
import { logLine } from './log-view.ts';
import { driftCounts } from './outcome-view.ts';
import { openWorld, safe, type Session } from './session.ts';

const MOST_DRIFT_LINES = 12;

export const register: Register = (command, run) => {
  command
    .description(
      'Where things stand, on one screen: mode, engine, owners, drift by kind, the last pass; with a running daemon also its event sources and what it waits for. Changes nothing.',
    )
    .usage('[OPTIONS]');
  addTail(command, {
    examples: [
      ['mendwall status', ''],
      ['mendwall status --json | jq .drift[0].kind', 'for scripts'],
    ],
    exits: [
      ['0', 'the daemon runs, no drift but shadowed and blocked, which may be meant'],
      ['1', 'drift'],
      ['2', 'no snapshot yet: run mendwall init'],
      ['3', 'no drift, but the daemon does not run'],
      ['5', 'the live rules cannot be read, or no snapshot is whole'],
      ['8', 'contended: a rival keeps changing the order'],
    ],
  });
  command.action(run(show));
};

async function show(session: Session): Promise<number> {
  const world = await openWorld(session);
  const result = await status(world, await askDaemon(world.config));
  await world.host.close();
  if (session.options.json === true) session.printJson(result);
  else for (const line of statusLines(result, session.color)) session.printPainted(line);
  if (result.unreadable !== undefined && session.terminal.uid !== 0) session.say('reading the live rules needs root');
  return exitOf(result, session.terminal.uid);
}

function exitOf(result: StatusResult, uid: number): number {
  if (result.unreadable !== undefined) return uid === 0 ? EXIT.refused : EXIT.needsRoot;
  if (result.snapshot === undefined) return result.damagedSnapshots.length > 0 ? EXIT.refused : EXIT.usage;
  const drift = exitOfDrift(result.drift);
  return drift === EXIT.ok && result.daemon === undefined ? EXIT.noDaemon : drift;
}

/** The screen, safe for a terminal. */
export function statusLines(result: StatusResult, color: boolean): string[] {
  const rows: [string, string][] = [
    ['mode', result.mode],
    ['daemon', daemonText(result)],
    ['snapshot', snapshotText(result)],
    ...result.damagedSnapshots.map(({ id, reason }): [string, string] => [
      'damaged',
      paint(`${id}, taken later: ${safe(reason)}`, 'red', color),
    ]),
    [
      'engine',
      result.engines
        .map(
          ({ family, engine, version, mixed }) =>
            `${family} ${engine}${version === undefined ? '' : ` ${version}`}${mixed ? ' (and rules in the other engine: observe only)' : ''}`,
        )
        .join(', '),
    ],
    ['drift', driftText(result, color)],
  ];
  if (result.pins.kind !== 'off') rows.push(['pinned', safe(pinsText(result.pins))]);
  if (result.pins.owner !== undefined) rows.push(['pins of', safe(pinOwnerText(result.pins.owner))]);
  if (result.keptOpen.length > 0) rows.push(['open', safe(openText(result.keptOpen))]);
  if (result.pausedUntil !== undefined) rows.splice(1, 0, ['paused', `until ${localTime(result.pausedUntil)}`]);
  if (result.trial !== undefined)
    rows.splice(1, 0, [
      'on trial',
      `${result.trial.what}, ${Math.ceil(result.trial.leftMs / 1000)} s left; \`mendwall confirm\` keeps it`,
    ]);
  if (result.last !== undefined) rows.push(['last pass', safe(logLine(result.last))]);
  const lines = columns(rows).split('\n');
  const shown = result.drift.filter(({ kind }) => kind !== 'unreadable');
  lines.push(...shown.slice(0, MOST_DRIFT_LINES).map((drift) => `  ${safe(describeDrift(drift))}`));
  if (shown.length > MOST_DRIFT_LINES)
    lines.push(`  ... and ${shown.length - MOST_DRIFT_LINES} more; mendwall status --json shows all`);
  lines.push(...ownerLines(result), ...sourceLines(result), ...namespaceLines(result, color));
  return lines;
}

function daemonText({ daemon }: StatusResult): string {
  if (daemon === undefined) return 'not running';
  const waits = daemon.timers.length === 0 ? '' : `, waits for: ${daemon.timers.join(', ')}`;
  return `running (pid ${daemon.pid}) since ${localTime(new Date(daemon.startedAtMs).toISOString())}, ${daemon.passes} passes${waits}`;
}

function snapshotText({ snapshot, damagedSnapshots }: StatusResult): string {
  if (snapshot === undefined && damagedSnapshots.length > 0)
    return 'none is whole; `mendwall init` takes the live rules (it changes none)';
  if (snapshot === undefined) return 'none; run `mendwall init` first (it changes no rule)';
  return `${snapshot.id} of ${localTime(snapshot.at)}: ${ruleCounts(snapshot.rules)} rules`;
}

function driftText({ drift, unreadable, snapshot }: StatusResult, color: boolean): string {
  if (unreadable !== undefined) return paint(`unreadable: ${safe(unreadable)}`, 'red', color);
  if (snapshot === undefined) return '-';
  if (drift.length === 0) return paint('none', 'green', color);
  const byFamily = (family: string): string => driftCounts(drift.filter((each) => each.family === family)) || 'none';
  const others = driftCounts(drift.filter(({ family }) => family !== 'ip' && family !== 'ip6'));
  const native = others === '' ? '' : `; native: ${others}`;
  return paint(`v4: ${byFamily('ip')}; v6: ${byFamily('ip6')}${native}`, 'red', color);
}

/** `ip INPUT 1, up to `-A INPUT -m limit ...` (why); ip FORWARD 4 drops` */
function pinsText({ kind, why, runs }: StatusResult['pins']): string {
  if (kind === 'failed') return `nothing: ${why ?? ''}`;
  const said = runs
    .filter(({ drops, stopped }) => drops > 0 || stopped !== undefined)
    .map(({ family, chain, drops, stopped }) => {
      const end = stopped === undefined ? '' : `, up to \`${stopped.text}\` (${stopped.why})`;
      return `${family} ${chain} ${drops}${end}`;
    });
  return said.length === 0 ? 'no drop stands above the neighbours' : `drops: ${said.join('; ')}`;
}

/** What owning the tables means, or why they are not. */
function pinOwnerText({ held, why }: NonNullable<StatusResult['pins']['owner']>): string {
  if (!held) return `nobody: ${why ?? 'they are written anew'}`;
  return 'the daemon alone (table mendwall, owner,persist): `nft -f` of a file that lists it fails as a whole; leave it out';
}

/** `network default: ip filter INPUT 3, inet filter forward 2` */
function openText(kept: StatusResult['keptOpen']): string {
  const networks = [...new Set(kept.map(({ network }) => network))];
  const said = networks.map((network) => {
    const mine = kept.filter((each) => each.network === network);
    const places = mine.map(({ family, table, chain }) => `${family} ${table} ${chain}`);
    const counts = [...new Set(places)].map((place) => `${place} ${places.filter((each) => each === place).length}`);
    return `network ${network}: ${counts.join(', ')}`;
  });
  return said.join('; ');
}

function ownerLines({ owners }: StatusResult): string[] {
  if (owners.length === 0) return [];
  const hasNative = owners.some(({ rules }) => rules.native !== undefined);
  const rows = owners.map(({ owner, engine, rules }) => [
    owner,
    engine,
    String(rules.ip),
    String(rules.ip6),
    ...(hasNative ? [String(rules.native ?? 0)] : []),
  ]);
  return ['', columns([['owner', 'engine', 'v4', 'v6', ...(hasNative ? ['native'] : [])], ...rows])];
}

function sourceLines({ daemon }: StatusResult): string[] {
  if (daemon === undefined) return [];
  const rows = daemon.sources.map(({ source, state, detail }) => [source, state, safe(detail)]);
  return rows.length === 0 ? [] : ['', columns([['events', 'state', ''], ...rows])];
}

/** One line each: `qrouter-7  merge  guarded  3e2acbb50ffa5a15  drift: 1 pending`. */
function namespaceLines({ daemon }: StatusResult, color: boolean): string[] {
  const namespaces = daemon?.namespaces ?? [];
  if (namespaces.length === 0) return [];
  const rows = namespaces.map(({ name, mode, state, why, snapshot, drift }) => {
    const kinds = Object.entries(drift).map(([kind, count]) => `${count} ${kind}`);
    const found = kinds.length === 0 ? 'none' : paint(kinds.join(', '), 'red', color);
    const last = why === undefined ? (snapshot === undefined ? '' : found) : paint(safe(why), 'red', color);
    return [safe(name), mode, state, snapshot ?? '', last];
  });
  return ['', columns([['netns', 'mode', 'state', 'snapshot', 'drift'], ...rows])];
}
