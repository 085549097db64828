import { escapeControl } from '../host/text.ts';
import type { Command } from 'commander';
import type { SnapshotResult } from '../verbs/snapshot.ts';
import {
  listSnapshots,
  type PruneResult,
  showSnapshot,
  type SnapshotListResult,
  type SnapshotShowResult,
} from '../verbs/snapshots.ts';
import { callVerb } from './call-verb.ts';
import { columns, count, localTime, ruleCounts } from './columns.ts';
import type { Register, Runner } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { ruleLines } from './outcome-view.ts';
import { addGlobalOptions } from './program.ts';
import { openWorld, type Session, unlessRefused } from './session.ts';

interface Options {
  readonly message?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      'Adopts your live rules as the new snapshot, pending changes included. Says what it would drop, and asks on a terminal when it drops a rule. Changes no live rule. See also: snapshot list, show, prune.',
    )
    .usage('[OPTIONS] | list | show [ID] | prune')
    .option('-m, --message <text>', 'kept with the snapshot')
    .option('-n, --dry-run', 'show what it would add and drop')
    .option('--yes', 'drop rules without asking');
  addTail(command, {
    examples: [
      ['mendwall snapshot -m "open 8022 for the build guest"', ''],
      ['mendwall snapshot list', 'newest first'],
      ['mendwall snapshot show latest~1', 'loads with plain iptables-restore'],
      ['mendwall snapshot prune -n', 'what would go'],
    ],
    exits: [
      ['0', 'done (it says `unchanged` when nothing differed)'],
      ['2', 'no snapshot yet, or no such snapshot'],
      ['4', 'another mendwall did not let go of the lock in time'],
      ['5', 'it would drop rules, and nobody said yes'],
    ],
  });
  command.action(run(take));
  addSub(command, 'list', 'newest first').action(run(list));
  addSub(command, 'show', 'the rules of one')
    .argument('[id]', 'default: latest')
    .option('--neighbours', "the neighbours' rules beside them")
    .action(run(show));
  addPrune(command, run);
};

function addSub(command: Command, name: string, about: string): Command {
  const sub = command.command(name).description(about).allowExcessArguments(false);
  addGlobalOptions(sub);
  return sub;
}

function addPrune(command: Command, run: Runner): void {
  addSub(command, 'prune', 'remove old ones; the latest always stays')
    .option('--keep-last <n>', 'default: the configuration')
    .option('--keep-days <n>', 'default: the configuration')
    .option('-n, --dry-run', 'show what would go')
    .option('--yes', 'accepted for scripts; prune asks nothing')
    .action(run(prune));
}

async function take(session: Session, options: Options): Promise<number> {
  const args = { message: options.message ?? '', dryRun: options.dryRun === true, yes: options.yes === true };
  let result = await callVerb<SnapshotResult>(session, 'snapshot', args);
  if (result.kind === 'asks') {
    for (const line of ruleLines('it drops', result.dropped)) session.say(line);
    if (!(await session.terminal.confirm('take the snapshot without them?')))
      throw new Stop(
        EXIT.refused,
        'nothing was changed; --yes drops these rules, `mendwall restore latest` puts them back',
      );
    result = await callVerb<SnapshotResult>(session, 'snapshot', { ...args, yes: true });
  }
  if (session.options.json === true) session.printJson(result);
  else for (const line of snapshotLines(result, args.dryRun)) session.print(line);
  return EXIT.ok;
}

function snapshotLines(result: SnapshotResult, dryRun: boolean): string[] {
  const rules = `${ruleCounts(result.rules)} rules`;
  const head = dryRun
    ? `would be snapshot ${result.id}: ${rules}`
    : result.changed
      ? `snapshot ${result.id}: ${rules}`
      : `unchanged: snapshot ${result.id}, ${rules}`;
  return [head, ...ruleLines('adds', result.added), ...ruleLines('drops', result.dropped)];
}

async function list(session: Session): Promise<number> {
  const world = await openWorld(session);
  const result = await listSnapshots(world);
  for (const note of result.notes) session.say(note);
  if (session.options.json === true) session.printJson(result);
  else for (const line of listLines(result)) session.print(line);
  return EXIT.ok;
}

function listLines({ snapshots, latest }: SnapshotListResult): string[] {
  if (snapshots.length === 0) return ['no snapshot yet; run `mendwall init` first (it changes no rule)'];
  const rows = snapshots.map(({ id, at, trigger, rules, message }, index) => [
    index === 0 && id === latest ? '*' : '',
    id,
    localTime(at),
    trigger,
    String(rules.ip),
    String(rules.ip6),
    String(rules.native ?? 0),
    escapeControl(message),
  ]);
  return columns([['', 'id', 'taken', 'by', 'v4', 'v6', 'native', 'message'], ...rows]).split('\n');
}

const NONE: Partial<SnapshotShowResult['user']> = {};

async function show(
  session: Session,
  id: string | undefined,
  options: { readonly neighbours?: boolean },
): Promise<number> {
  const world = await openWorld(session);
  const result = unlessRefused(await showSnapshot(world, id ?? 'latest'));
  if (session.options.json === true) {
    session.printJson(result);
    return EXIT.ok;
  }
  const texts = options.neighbours === true ? result.neighbours : result.user;
  session.print(
    `# snapshot ${result.id} of ${localTime(result.taking.at)} by ${result.taking.trigger}${result.taking.message === '' ? '' : `: ${escapeControl(result.taking.message)}`}`,
  );
  session.print(`# IPv4: iptables-restore\n${texts.ip.trimEnd()}`);
  session.print(`# IPv6: ip6tables-restore\n${texts.ip6.trimEnd()}`);
  const { nft, ebtables, arptables } = options.neighbours === true ? NONE : result.user;
  if (nft !== undefined) session.print(`# native: nft -f\n${nft.trimEnd()}`);
  if (ebtables !== undefined) session.print(`# bridge: ebtables-restore\n${ebtables.trimEnd()}`);
  if (arptables !== undefined) session.print(`# ARP: arptables-restore\n${arptables.trimEnd()}`);
  if (options.neighbours !== true && result.sets !== '')
    session.print(`# ipsets: ipset restore\n${result.sets.trimEnd()}`);
  return EXIT.ok;
}

async function prune(
  session: Session,
  options: { readonly keepLast?: string; readonly keepDays?: string; readonly dryRun?: boolean },
): Promise<number> {
  const number = (name: string, text: string | undefined): number | undefined => {
    if (text === undefined) return undefined;
    if (!/^\d+$/.test(text)) throw new Stop(EXIT.usage, `${name}: expected a whole number, found "${text}"`);
    return Number(text);
  };
  const keep = { keepLast: number('--keep-last', options.keepLast), keepDays: number('--keep-days', options.keepDays) };
  const result = await callVerb<PruneResult>(session, 'prune', { dryRun: options.dryRun === true, ...keep });
  if (session.options.json === true) session.printJson(result);
  else if (options.dryRun === true)
    session.print(
      `would remove ${count(result.removed.length, 'snapshot')}${result.removed.length === 0 ? '' : `: ${result.removed.join(' ')}`}`,
    );
  else
    session.print(
      result.changed
        ? `removed ${count(result.removed.length, 'snapshot')} and ${count(result.removedTexts, 'kept text')}`
        : 'unchanged: nothing is old enough',
    );
  return EXIT.ok;
}
