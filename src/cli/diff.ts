import { diff } from '../verbs/diff.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { openWorld, type Session, unlessRefused } from './session.ts';

interface Options {
  readonly owner?: string;
  readonly all?: boolean;
  readonly stat?: boolean;
  readonly effect?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      "Unified diff of your rules: the latest snapshot against the live rules, or A against B (A alone: against live). A and B are a snapshot's id, latest, latest~N, live, or a rules file. Where a neighbour's rules stand among yours is a comment line, so that a displacement shows. Changes nothing.",
    )
    .usage('[OPTIONS] [A [B]]')
    .argument('[a]', 'default: latest')
    .argument('[b]', 'default: live')
    .option('--owner <name>', "a neighbour's rules instead of yours, as in libvirt")
    .option('--all', "everybody's rules")
    .option('--stat', 'only how many lines differ, a chain a line')
    .option('--effect', 'which packets change verdict, and by which rules, each side among the neighbours of now');
  addTail(command, {
    examples: [
      ['mendwall diff', 'what differs now'],
      ['mendwall diff latest~1 latest', 'what the latest snapshot changed'],
      ['mendwall diff /etc/iptables/rules.v4', 'your file against live'],
      ['mendwall diff --owner libvirt --stat', ''],
      ['mendwall diff --effect', 'which packets get another verdict now'],
    ],
    exits: [
      ['0', 'the same'],
      ['1', 'they differ'],
      ['2', 'trouble: no such snapshot or file, a malformed file'],
      ['5', 'the live rules cannot be read'],
    ],
  });
  command.action(run(show));
};

async function show(session: Session, a: string | undefined, b: string | undefined, options: Options): Promise<number> {
  if (options.effect === true) return showEffect(session, a ?? 'latest', b ?? 'live', options);
  const world = await openWorld(session);
  const result = await diff(world, {
    a: a ?? 'latest',
    b: b ?? 'live',
    owner: options.owner,
    all: options.all === true,
  });
  await world.host.close();
  if (result.kind === 'refused' && result.code === 'unreadable-rules' && session.terminal.uid !== 0)
    throw new Stop(EXIT.needsRoot, `${result.message.split('\n')[0]}: reading them needs root`);
  const found = unlessRefused(result);
  if (session.options.json === true) session.printJson(await asJson(found));
  else if (!found.same) await showDiff(session, found, options.stat === true);
  return found.same ? EXIT.ok : EXIT.drift;
}

async function showEffect(session: Session, a: string, b: string, options: Options): Promise<number> {
  if (options.owner !== undefined || options.all === true || options.stat === true)
    throw new Stop(EXIT.usage, '--effect compares whole rulesets: leave out --owner, --all and --stat');
  const { diffEffect } = await import('../verbs/diff-effect.ts');
  const world = await openWorld(session);
  const result = await diffEffect(world, { a, b });
  await world.host.close();
  if (result.kind === 'refused' && result.code === 'unreadable-rules' && session.terminal.uid !== 0)
    throw new Stop(EXIT.needsRoot, `${result.message.split('\n')[0]}: reading them needs root`);
  const found = unlessRefused(result);
  const { effectLines } = await import('./effect-view.ts');
  if (session.options.json === true) session.printJson(found);
  else for (const line of effectLines(found, session.color)) session.printPainted(line);
  return found.complete && found.classes.length === 0 ? EXIT.ok : EXIT.drift;
}

type Found = Extract<Awaited<ReturnType<typeof diff>>, { kind: 'diff' }>;

async function showDiff(session: Session, found: Found, stat: boolean): Promise<void> {
  const { statLines, unifiedLines } = await import('./diff-view.ts');
  const lines = stat
    ? statLines(found)
    : unifiedLines(found, { color: session.color, clean: session.terminal.isTerminal.out });
  await session.terminal.page(`${lines.join('\n')}\n`);
}

async function asJson(found: Found): Promise<object> {
  const { countsByPlace, unifiedLines } = await import('./diff-view.ts');
  const families = found.families.map(({ family, a, b, same }) => {
    const chains = same ? [] : [...countsByPlace(a.lines, b.lines)].map(([place, counts]) => ({ place, ...counts }));
    return { family, a: a.label, b: b.label, same, chains };
  });
  return { kind: 'diff', same: found.same, families, diff: unifiedLines(found, { color: false, clean: false }) };
}
