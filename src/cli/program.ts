// argv to one command, and its exit code. Only the command that is run is loaded.

import { Command, CommanderError } from 'commander';
import type { Terminal } from '../host/terminal.ts';
import { HostError } from '../host/host.ts';
import { didYouMean } from '../nearest.ts';
import { COMMANDS, type CommandEntry, type Runner } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { shortHelp } from './help.ts';
import { type GlobalOptions, openSession, safe, type Session } from './session.ts';
import { VERSION } from './version.ts';

/** Global options that take a value, for finding the command among them. */
const WITH_VALUE = new Set(['--config', '--state', '--netns', '--color', '--wait']);

const FLAGS = ['--json', '-q', '--quiet', '-v', '--verbose', '--help', '-h'];

/** Runs one command line; the exit code. Never rejects. */
export async function runCommandLine(terminal: Terminal): Promise<number> {
  try {
    return await dispatch(terminal);
  } catch (error) {
    return explainError(terminal, error);
  }
}

async function dispatch(terminal: Terminal): Promise<number> {
  const at = commandIndex(terminal.args);
  const name = terminal.args[at];
  const asksHelp = terminal.args.slice(0, at === -1 ? undefined : at).some((arg) => arg === '--help' || arg === '-h');
  if (asksHelp || name === 'help') return help(terminal, name === 'help' ? terminal.args[at + 1] : undefined);
  if (name === undefined) return withoutCommand(terminal);
  const entry = commandNamed(name);
  return await runCommand(terminal, entry, [...terminal.args.slice(0, at), ...terminal.args.slice(at + 1)]);
}

/** Throws Stop 2 with the nearest name. */
function commandNamed(name: string): CommandEntry {
  const entry = COMMANDS.find((each) => each.name === name);
  if (entry !== undefined) return entry;
  const names = COMMANDS.map((each) => each.name);
  throw new Stop(EXIT.usage, `there is no command "${name}"${didYouMean(name, names)}; \`mendwall --help\` lists them`);
}

/** Only global options, or none: the short help; `--version` among them; a word that is none of them is an error. */
function withoutCommand(terminal: Terminal): number {
  const words = terminal.args.filter((arg, at) => !WITH_VALUE.has(arg) && !WITH_VALUE.has(terminal.args[at - 1] ?? ''));
  if (words.some((word) => word === '--version' || word === '-V')) {
    terminal.out(`${VERSION}\n`);
    return EXIT.ok;
  }
  const wrong = words.find((word) => !FLAGS.includes(word) && !WITH_VALUE.has(word.split('=')[0] ?? ''));
  if (wrong !== undefined)
    throw new Stop(
      EXIT.usage,
      `unknown option '${wrong}'${didYouMean(wrong, [...FLAGS, ...WITH_VALUE, '--version'])}; see mendwall --help`,
    );
  terminal.out(shortHelp());
  return EXIT.ok;
}

function commandIndex(args: readonly string[]): number {
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? '';
    if (WITH_VALUE.has(arg)) at++;
    else if (!arg.startsWith('-')) return at;
  }
  return -1;
}

async function help(terminal: Terminal, name: string | undefined): Promise<number> {
  if (name !== undefined && !name.startsWith('-')) return runCommand(terminal, commandNamed(name), ['--help']);
  terminal.out(shortHelp());
  return EXIT.ok;
}

async function runCommand(terminal: Terminal, entry: CommandEntry, args: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  const command = new Command(entry.name);
  command.exitOverride().configureOutput({ writeOut: (text) => terminal.out(text), writeErr: () => undefined });
  command.configureHelp({ helpWidth: 80, sortOptions: false, commandUsage: (each) => usageOf(each) });
  command.helpOption('-h, --help', 'show this help').allowExcessArguments(false);
  addGlobalOptions(command);
  const run: Runner =
    <A extends readonly unknown[]>(action: (session: Session, ...args: A) => Promise<number>) =>
    async (...given: unknown[]) => {
      // commander passes the arguments, then the options, then the command itself.
      const self = given.at(-1) as Command;
      const session = await openSession(terminal, self.optsWithGlobals<GlobalOptions>());
      const rest = [...given.slice(0, -2), self.optsWithGlobals()] as unknown as A;
      exitCode = await action(session, ...rest);
    };
  const register = await entry.load();
  register(command, run);
  await explaining(command, () => command.parseAsync([...args], { from: 'user' }));
  return exitCode;
}

/** commander's errors in our words. */
async function explaining(command: Command, parse: () => Promise<unknown>): Promise<void> {
  try {
    await parse();
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode === 0) throw error;
    throw new Stop(EXIT.usage, usageError(command, error));
  }
}

/** The nearest option or subcommand is looked for here: commander's list leaves out what its help does not show. */
function usageError(command: Command, error: CommanderError): string {
  const message = error.message.replace(/^error: |\.$/g, '').replace(/\n\(Did you mean .*$/s, '');
  const names = command.commands.map((each) => each.name());
  const [word] = command.args;
  if (error.code === 'commander.excessArguments' && names.length > 0 && word !== undefined) {
    if (names.includes(word))
      return `${command.name()} ${word}: too many arguments; see mendwall ${command.name()} --help`;
    return `${command.name()}: there is no "${word}"${didYouMean(word, names)}; expected ${names.join(', ')}`;
  }
  const wrong = /unknown option '(-[^'=]*)/.exec(message)?.[1]; // unknown option '--jsn'
  const known = [command, ...command.commands].flatMap((each) => each.options.map((option) => option.long ?? ''));
  return `${message}${wrong === undefined ? '' : didYouMean(wrong, known)}; see mendwall ${command.name()} --help`;
}

function usageOf(command: Command): string {
  const path: string[] = [];
  for (let each: Command | null = command; each !== null; each = each.parent) path.unshift(each.name());
  return `mendwall ${path.join(' ')} ${command.usage()}`;
}

/** Every command takes them, before its name or after; `mendwall --help` explains them once. */
export function addGlobalOptions(command: Command): void {
  const hidden = (flags: string): void => void command.addOption(command.createOption(flags, '').hideHelp());
  for (const flags of [
    '--config <file>',
    '--state <dir>',
    '--netns <name>',
    '--json',
    '-q, --quiet',
    '-v, --verbose',
    '--color <when>',
    '--wait <seconds>',
  ])
    hidden(flags);
}

function explainError(terminal: Terminal, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const say = (text: string): void =>
    terminal.err(
      `${text
        .split('\n')
        .map((line) => `mendwall: ${safe(line)}`)
        .join('\n')}\n`,
    );
  if (error instanceof Stop) {
    // Empty: what was wrong is said already, in a form of its own.
    if (error.message !== '') say(error.message);
    return error.exitCode;
  }
  if (error instanceof HostError) {
    say(`${error.code}: ${error.message}`);
    return /permission denied|not permitted/.test(error.message) && terminal.uid !== 0 ? EXIT.needsRoot : EXIT.drift;
  }
  say(`internal error, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return EXIT.drift;
}
