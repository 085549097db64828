// What every command shares: the global options, the printing, and how it comes by a context.

import type { Config, Setting } from '../config.ts';
import { LIBVIRT_DAEMONS } from '../host/bus-names.ts';
import type { Host } from '../host/host.ts';
import { hostInside, runsInside } from '../host/netns-host.ts';
import type { OpenNetns } from '../host/netns.ts';
import type { RealHost } from '../host/real.ts';
import type { Terminal } from '../host/terminal.ts';
import { escapeControl } from '../host/text.ts';
import { didYouMean } from '../nearest.ts';
import { CONFIG_FOLDER, RUN_FOLDER } from '../observe/networks.ts';
import type { Refusal, World } from '../verbs/types.ts';
import { EXIT, Stop, stopFor } from './exit-codes.ts';

/** As commander gives them; each may stand before or after the command. */
export interface GlobalOptions {
  readonly config?: string;
  readonly state?: string;
  readonly netns?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly color?: string;
  readonly wait?: string;
}

export interface Session {
  readonly terminal: Terminal;
  readonly options: GlobalOptions;
  /** Whether output is coloured. */
  readonly color: boolean;
  /** `--netns`: where the session works; undefined: in the namespace it runs in. */
  readonly inside: Inside | undefined;
  /** Data, on standard output; lines are made safe for a terminal. */
  print(text: string): void;
  /** Data that holds our own colours; whoever painted it made it safe before. */
  printPainted(text: string): void;
  printJson(value: object): void;
  /** A message, on standard error; nothing with -q. */
  say(text: string): void;
}

/** Throws Stop 2 and 7: wrong options, no such namespace, not root. */
export async function openSession(terminal: Terminal, options: GlobalOptions): Promise<Session> {
  return {
    terminal,
    options,
    color: wantsColor(terminal, options.color),
    inside: options.netns === undefined ? undefined : await enterNetns(terminal, options.netns),
    print: (text) => terminal.out(`${terminal.isTerminal.out ? safe(text) : text}\n`),
    printPainted: (text) => terminal.out(`${text}\n`),
    printJson: (value) => terminal.out(`${JSON.stringify({ schema: 1, ...value })}\n`),
    say: (text) => {
      if (options.quiet !== true) terminal.err(`mendwall: ${safe(text)}\n`);
    },
  };
}

export interface Inside {
  readonly netns: OpenNetns;
  /** libvirtd, or another daemon of libvirt's, runs in there: its networks are that namespace's. */
  readonly libvirt: boolean;
}

async function enterNetns(terminal: Terminal, name: string): Promise<Inside> {
  if (terminal.uid !== 0)
    throw new Stop(EXIT.needsRoot, `--netns needs root; try: sudo mendwall ${terminal.args.join(' ')}`);
  const { found } = await terminal.netns.list();
  const names = found.map((each) => each.name);
  const inside = names.includes(name) ? await openInside(terminal, name) : undefined;
  if (inside !== undefined) return inside;
  const hint = didYouMean(name, names);
  throw new Stop(EXIT.usage, `there is no network namespace "${name}"${hint}; \`ip netns list\` shows them`);
}

/** Undefined when there is no such namespace. */
export async function openInside(terminal: Terminal, name: string): Promise<Inside | undefined> {
  const netns = await terminal.netns.open(name);
  if (netns === undefined) return undefined;
  return { netns, libvirt: await runsInside(terminal.makeHost({ ownFolders: [] }), netns, LIBVIRT_DAEMONS) };
}

/** Without a libvirt daemon in there, libvirt's networks are another namespace's. */
export function hostIn(host: RealHost, { netns, libvirt }: Inside): RealHost {
  return hostInside(host, netns, libvirt ? [] : [RUN_FOLDER, CONFIG_FOLDER]);
}

/** Control characters of rule comments are shown, not obeyed; line ends stay. */
export function safe(text: string): string {
  return text.split('\n').map(escapeControl).join('\n');
}

/** https://no-color.org: NO_COLOR counts when it is there and not empty. */
function wantsColor(terminal: Terminal, when: string | undefined): boolean {
  if (when !== undefined && !['auto', 'always', 'never'].includes(when))
    throw new Stop(EXIT.usage, `--color: expected auto, always or never, found "${when}"`);
  if (when === 'always' || when === 'never') return when === 'always';
  return terminal.isTerminal.out && (terminal.env['NO_COLOR'] ?? '') === '' && terminal.env['TERM'] !== 'dumb';
}

export interface OpenConfig {
  readonly config: Config;
  readonly settings: readonly Setting[];
  readonly path: string;
}

/** The effective configuration. Throws Stop 2 with every problem, a line each. */
export async function openConfig(session: Session, missingIsFine = false): Promise<OpenConfig> {
  const { DEFAULT_CONFIG_PATH, printConfigProblem, readConfig } = await import('../config.ts');
  const { terminal, options } = session;
  const asked = options.config ?? terminal.env['MENDWALL_CONFIG'];
  const path = asked ?? DEFAULT_CONFIG_PATH;
  const host = terminal.makeHost({ ownFolders: [] });
  const read = await readConfig(host.files, {
    path,
    explicit: asked !== undefined && !missingIsFine,
    overrides: overridesOf(session),
    netns: session.inside?.netns.name,
  });
  if (read.kind === 'problems') throw new Stop(EXIT.usage, read.problems.map(printConfigProblem).join('\n'));
  return { config: read.config, settings: read.settings, path };
}

function overridesOf({ terminal, options }: Session): Setting[] {
  const overrides: Setting[] = [];
  const add = (key: string, value: string | undefined, from: string): void => {
    if (value !== undefined && value !== '') overrides.push({ key, value, from });
  };
  add('paths.run', terminal.env['MENDWALL_RUN'], 'MENDWALL_RUN');
  add('paths.procfs', terminal.env['MENDWALL_PROCFS'], 'MENDWALL_PROCFS');
  add('paths.spool', terminal.env['MENDWALL_SPOOL'], 'MENDWALL_SPOOL');
  add('paths.state', options.state, '--state');
  return overrides;
}

/** The real Host for a configuration. */
export function openHost(session: Session, config: Config, level?: 'info'): RealHost {
  const { quiet, verbose } = session.options;
  const host = session.terminal.makeHost({
    ownFolders: [config.stateDir, config.runDir],
    logForm: config.logFormat === 'json' ? 'json' : 'auto',
    logLevel: quiet === true ? 'error' : verbose === true ? 'debug' : (level ?? 'warning'),
  });
  return session.inside === undefined ? host : hostIn(host, session.inside);
}

export interface OpenWorld extends World {
  readonly host: RealHost;
  readonly settings: readonly Setting[];
  readonly configPath: string;
}

/** For commands that read: state folder and live rules, no lock. */
export async function openWorld(session: Session): Promise<OpenWorld> {
  const { config, settings, path } = await openConfig(session);
  const host = openHost(session, config);
  const context = await contextOf(session, host, config);
  return { context, config, host, settings, configPath: path };
}

export async function contextOf(session: Session, host: Host, config: Config): Promise<World['context']> {
  const { openContext } = await import('../context.ts');
  const { context, notes } = await openContext(host, config);
  for (const note of notes) session.say(note);
  return context;
}

/** Throws Stop 7 for anybody but root. */
export function requireRoot(session: Session, what: string): void {
  if (session.terminal.uid !== 0)
    throw new Stop(EXIT.needsRoot, `${what} needs root; try: sudo mendwall ${session.terminal.args.join(' ')}`);
}

/** A refusal becomes the command's end; every other result is what it was. */
export function unlessRefused<T extends { readonly kind: string }>(result: T | Refusal): Exclude<T, Refusal> {
  if (isRefusal(result)) throw stopFor(result);
  return result as Exclude<T, Refusal>;
}

function isRefusal(result: { readonly kind: string }): result is Refusal {
  return result.kind === 'refused';
}
