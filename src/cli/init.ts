import { callVerb } from './call-verb.ts';
import { columns, count } from './columns.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { openConfig, openHost, requireRoot, type Session } from './session.ts';
import type { InitResult } from '../verbs/init.ts';

interface Options {
  readonly from?: readonly string[];
  readonly place: string;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

export const register: Register = (command, run) => {
  command
    .description(
      'Takes the first snapshot of your rules: those that no neighbour (libvirt, ...) claims. Prints what was taken as yours and what was left out, with its owner. Changes no live rule. Writes /etc/mendwall/mendwall.toml, all options as comments, if there is none.',
    )
    .usage('[OPTIONS]')
    .option(
      '--from <file...>',
      'take your rules from rules files (iptables-save form)\ninstead; *v6* and ip6* are IPv6',
    )
    .option('--place <how>', "as-found, or above: libvirt's rules go below those of\nyours that they hide", 'as-found')
    .option('--force', 'begin anew although there is a snapshot')
    .option('-n, --dry-run', 'show what would be taken, write nothing')
    .option('--yes', 'the same as --force, for scripts');
  addTail(command, {
    examples: [
      ['mendwall init', 'from the live rules'],
      ['mendwall init --from /etc/iptables/rules.v4 /etc/iptables/rules.v6', ''],
      ['mendwall init -n -v', 'show every rule and its owner first'],
    ],
    exits: [
      ['0', 'the snapshot was taken'],
      ['2', 'a rules file or the configuration is wrong'],
      ['5', 'there is a snapshot already, or the live rules cannot be read'],
    ],
  });
  command.action(run(initialise));
};

async function initialise(session: Session, options: Options): Promise<number> {
  if (options.place !== 'as-found' && options.place !== 'above')
    throw new Stop(EXIT.usage, `--place: expected as-found or above, found "${options.place}"`);
  requireRoot(session, 'mendwall init');
  const dryRun = options.dryRun === true;
  const written = dryRun ? undefined : await writeDefaultConfig(session);
  const from = (options.from ?? []).map((path) =>
    path.startsWith('/') || path === '' ? path : `${session.terminal.env['PWD'] ?? '.'}/${path}`,
  );
  const result = await callVerb<InitResult>(session, 'init', {
    from,
    place: options.place,
    force: options.force === true || options.yes === true,
    dryRun,
  });
  if (session.options.json === true) session.printJson(result);
  else show(session, result);
  if (written !== undefined) session.say(`wrote ${written}: every option as a comment`);
  return EXIT.ok;
}

/** Its path when it was written. */
async function writeDefaultConfig(session: Session): Promise<string | undefined> {
  const { config, path } = await openConfig(session, true);
  const host = openHost(session, config);
  if (await host.files.exists(path)) return undefined;
  const { defaultConfigText } = await import('../config/options.ts');
  await host.files.makeDir(path.slice(0, path.lastIndexOf('/')) || '/');
  await host.files.writeAtomic(path, defaultConfigText());
  return path;
}

function show(session: Session, result: InitResult): void {
  const verbose = session.options.verbose === true;
  const rules = result.taken.reduce((sum, chain) => sum + chain.rules.length, 0);
  session.print(
    `${result.changed ? 'snapshot' : 'would take snapshot'} ${result.id}: ${count(rules, 'rule')} taken as yours from ${[...new Set(Object.values(result.from))].join(', ')}`,
  );
  const taken = result.taken.map(({ family, table, chain, policy, rules: texts }) => [
    family,
    table,
    chain,
    String(texts.length),
    /^[A-Z]+$/.test(policy) ? `policy ${policy}` : '',
  ]);
  if (taken.length > 0) session.print(columns([['', 'table', 'chain', 'rules', ''], ...taken], '  '));
  if (verbose)
    for (const { family, table, rules: texts } of result.taken)
      for (const text of texts) session.print(`  ${family} ${table} ${text}`);
  showLeft(session, result, verbose);
  for (const drift of result.shadowed)
    session.print(`shadowed ${drift.family} ${drift.table} ${drift.text} (${drift.evidence})`);
  if (result.shadowed.length > 0)
    session.say('shadowed rules stand as found; `mendwall init --place above --force` wakes them at the next mend');
  for (const place of result.moved) session.print(`libvirt's place in ${place} is now below the rules that it hid`);
  if (result.neighbours === 'partial')
    session.say("libvirt's own rules are not complete now, so they are not remembered for repairs yet");
}

function showLeft(session: Session, result: InitResult, verbose: boolean): void {
  const left = result.left.reduce((sum, group) => sum + group.rules.length, 0);
  if (left === 0) return session.print('nothing was left out: no rule belongs to a neighbour');
  session.print(`left out: ${count(left, 'rule')} of neighbours`);
  session.print(
    columns(
      [
        ['', 'table', 'chain', 'rules', 'owner'],
        ...result.left.map(({ family, table, chain, rules, owner }) => [
          family,
          table,
          chain,
          String(rules.length),
          owner,
        ]),
      ],
      '  ',
    ),
  );
  if (verbose)
    for (const { family, table, rules, owner, evidence } of result.left)
      for (const text of rules) session.print(`  ${owner} ${family} ${table} ${text} (${evidence})`);
}
