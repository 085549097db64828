import type { Command } from 'commander';
import type { Register, Runner } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { addTail } from './help.ts';
import { addGlobalOptions } from './program.ts';
import type { Session } from './session.ts';

export interface DebugOptions {
  readonly family?: string;
  readonly engine?: string;
  readonly networks?: readonly string[];
  readonly snapshot?: string;
  readonly plan?: boolean;
}

type Filter = (session: Session, file: string | undefined, options: DebugOptions) => Promise<number>;

export const register: Register = (command, run) => {
  command
    .description(
      'Each stage as a filter on standard input or a file, for tests and bug reports. Touches neither the live rules nor the state folder; needs no root.',
    )
    .usage('parse | classify | merge | plan | effect');
  addTail(command, {
    examples: [
      ['iptables-save | mendwall debug parse | cmp - <(iptables-save)', ''],
      ['nft list ruleset | mendwall debug parse --engine nft', ''],
      ['iptables-save | mendwall debug classify', 'owner, evidence, table, chain, text'],
      ['iptables-save | mendwall debug merge --snapshot rules.v4', 'how it should be'],
      ['iptables-save | mendwall debug plan --snapshot rules.v4', 'the edits that lead there'],
      ['mendwall debug effect before.v4 after.v4', 'which packets change verdict'],
    ],
    exits: [
      ['0', 'ok (merge and plan: also when there is drift; it is on standard error)'],
      ['1', 'effect: some packets change verdict, or the comparison is not complete'],
      ['2', 'malformed input: FILE:LINE:COLUMN: code: message'],
    ],
  });
  addParse(command, run);
  addClassify(command, run);
  addMerge(command, run);
  addEffect(command, run);
  command.action(
    run(() =>
      Promise.reject(
        new Stop(EXIT.usage, 'expected parse, classify, merge, plan or effect; see mendwall debug --help'),
      ),
    ),
  );
};

function addFilter(command: Command, name: string, about: string): Command {
  const sub = command
    .command(name)
    .description(about)
    .allowExcessArguments(false)
    .argument('[file]', 'default: - (standard input)');
  sub.option('--family <family>', 'ip or ip6 (default ip)');
  addGlobalOptions(sub);
  return sub;
}

function addNetworks(sub: Command): Command {
  return sub.option('--networks <file...>', "libvirt's definitions of its networks (network or networkstatus XML)");
}

/** `--networks a.xml b.xml LIVE`: the option takes every word behind it; a last one that is no XML file is the input. */
function splitNetworks(file: string | undefined, options: DebugOptions): [string | undefined, DebugOptions] {
  const networks = options.networks ?? [];
  const last = networks.at(-1);
  if (file !== undefined || last === undefined || last.toLowerCase().endsWith('.xml')) return [file, options];
  const rest = networks.slice(0, -1);
  return [last, rest.length === 0 ? omitNetworks(options) : { ...options, networks: rest }];
}

function omitNetworks({ networks: _, ...options }: DebugOptions): DebugOptions {
  return options;
}

function addParse(command: Command, run: Runner): void {
  const filter: Filter = async (session, file, options) =>
    (await import('./debug-filters.ts')).parse(session, file, options);
  addFilter(command, 'parse', 'rules in, the same bytes out: text of iptables-save, or of nft list ruleset')
    .option('--engine <engine>', 'whose text it is: iptables or nft (default iptables)')
    .action(run(filter));
}

function addClassify(command: Command, run: Runner): void {
  const filter: Filter = async (session, file, options) =>
    (await import('./debug-filters.ts')).classifyText(session, ...splitNetworks(file, options));
  addNetworks(
    addFilter(
      command,
      'classify',
      'one line a rule or chain: owner, evidence, table, chain, source text, with tabs between',
    ),
  ).action(run(filter));
}

function addMerge(command: Command, run: Runner): void {
  const merge: Filter = async (session, file, options) =>
    (await import('./debug-merge.ts')).mergeTexts(session, ...splitNetworks(file, options));
  const plan: Filter = (session, file, options) => merge(session, file, { ...options, plan: true });
  const addSnapshot = (sub: Command): Command =>
    addNetworks(sub).option(
      '--snapshot <base>',
      'the rules as they were wanted, in iptables-save form; foreign rules\nin it only say where neighbours stand',
    );
  addSnapshot(addFilter(command, 'merge', 'the merged ruleset; drift and conflicts on standard error'))
    .option('--plan', 'the restore input instead')
    .action(run(merge));
  addSnapshot(addFilter(command, 'plan', 'the restore input that leads to the merged ruleset')).action(run(plan));
}

function addEffect(command: Command, run: Runner): void {
  const sub = command
    .command('effect')
    .description('which packets change verdict between two rulesets, with both verdicts and both deciding rules')
    .allowExcessArguments(false)
    .argument('<before>', 'text of iptables-save, or of nft list ruleset; - is standard input')
    .argument('<after>')
    .option('--family <family>', 'ip or ip6 (default ip; with --engine nft: both)')
    .option('--engine <engine>', 'whose text it is: iptables or nft (default iptables)');
  addNetworks(sub);
  addGlobalOptions(sub);
  sub.action(
    run(async (session: Session, before: string, after: string, options: DebugOptions) =>
      (await import('./debug-effect.ts')).effectOfTexts(session, before, after, options),
    ),
  );
}
