import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import type { NetnsDoor, OpenNetns } from '../../src/host/netns.ts';
import { VERSION } from '../../src/cli/version.ts';
import { type FakeTerminal, openFakeTerminal } from './fake-terminal.ts';

let terminal: FakeTerminal;

beforeEach(async () => {
  terminal = await openFakeTerminal();
});
afterEach(() => terminal.close());

describe('the program', () => {
  it('a word that is no option or command is an error wherever it stands, never the help with 0', async () => {
    for (const [line, said] of [
      ['--bogus', "unknown option '--bogus'"],
      ['--jsn', 'did you mean "--json"?'],
      ['--state /x --bogus=1', "unknown option '--bogus=1'"],
      ['help foo', 'there is no command "foo"'],
      ['config show extra', 'config show: too many arguments'],
      ['pause --for 99999999d', 'expected at most 365d'],
    ] as const) {
      const told = await terminal.run(line);
      expect([line, told.exitCode, told.out]).toEqual([line, 2, '']);
      expect(told.err).toContain(said);
    }
  });

  it('tells its version beside other global options, too', async () => {
    expect(await terminal.run('--state /x --version')).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(/^\d+\.\d+/),
    });
  });

  it('without an argument, with --help and with help prints the short help', async () => {
    const bare = await terminal.run('');
    expect(bare.exitCode).toBe(0);
    for (const { name } of COMMANDS) expect(bare.out).toContain(`\n  ${name} `.trimEnd());
    expect(await terminal.run('--help')).toEqual(bare);
    expect(await terminal.run('help')).toEqual(bare);
  });

  it('has the version of package.json', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(VERSION).toBe(version);
    expect((await terminal.run('version')).out).toBe(`${version}\n`);
  });

  it('says nothing of commands that are not there', async () => {
    const { out } = await terminal.run('');
    for (const later of ['report']) {
      expect(out).not.toMatch(new RegExp(`^  ${later} `, 'm'));
      expect((await terminal.run(later)).exitCode).toBe(2);
    }
  });

  it.each(COMMANDS.map(({ name }) => name))('explains %s with examples and exit status, on a screen', async (name) => {
    const help = await terminal.run(`${name} --help`);
    expect(help).toMatchObject({ exitCode: 0, err: '' });
    expect(help.out).toContain('EXAMPLES');
    expect(help.out).toContain('EXIT STATUS');
    const lines = help.out.split('\n');
    expect(lines.length).toBeLessThan(40);
    expect(lines.filter((line) => line.length > 84)).toEqual([]);
    expect((await terminal.run(`help ${name}`)).out).toBe(help.out);
  });

  it.each([
    ['stauts', 'there is no command "stauts" (did you mean "status"?)'],
    ['diff --jsn', `unknown option '--jsn' (did you mean "--json"?)`],
    ['--stat=x status', `unknown option '--stat`],
    ['snapshot lst', 'there is no "lst" (did you mean "list"?)'],
    ['restore', "missing required argument 'id'"],
    ['mend --mode mrge', 'expected observe or merge, found "mrge"'],
    ['mend --trigger what', 'expected spool, found "what"'],
    ['init --place below', 'expected as-found or above'],
    ['pause --for soon', 'expected a time as in 90s, 30m, 2h, 1d'],
    ['log -n many', 'expected a whole number'],
    ['log --color blue', 'expected auto, always or never'],
    ['mend --wait long', 'expected seconds'],
    ['completion tcsh', 'expected bash, zsh or fish'],
    ['hooks', 'expected install, status or remove'],
    ['debug merge', 'expected --snapshot BASE'],
    ['--config /none status', '/none: config-missing'],
  ])('refuses "%s" with exit 2 and what is right', async (line, message) => {
    const told = await terminal.run(line);
    expect(told.err).toContain(message);
    expect(told).toMatchObject({ exitCode: 2, out: '' });
  });

  it.each([
    'init',
    'mend',
    'mend --trigger spool',
    'snapshot',
    'restore latest',
    'accept',
    'pause',
    'resume',
    'run',
    'hooks install',
    'hooks remove',
    '--netns x status',
  ])('refuses "%s" to others than root with exit 7 and one line', async (line) => {
    const told = await terminal.run(line, { uid: 1000 });
    expect(told).toMatchObject({ exitCode: 7, out: '' });
    expect(told.err.trimEnd().split('\n')).toHaveLength(1);
    expect(told.err).toContain('sudo mendwall');
  });

  it('takes global options before the command and after it', async () => {
    const before = await terminal.run('--state /s config show');
    const after = await terminal.run('config show --state /s');
    expect(before.out).toContain('"/s"');
    expect(after).toEqual(before);
  });

  it('prints a completion for every shell that knows every command', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { out, exitCode } = await terminal.run(`completion ${shell}`);
      expect(exitCode).toBe(0);
      for (const { name } of COMMANDS) expect(out).toContain(name);
    }
  });

  it('runs every program inside the network namespace that --netns names, with folders of its own', async () => {
    const entered: string[] = [];
    const blue: OpenNetns = {
      name: 'blue',
      life: '7-1',
      inode: '7',
      enter: (command) => (entered.push(command.file), command),
      close: () => Promise.resolve(),
    };
    const netns: NetnsDoor = {
      list: () => Promise.resolve({ found: [blue], unready: [] }),
      open: (name) => Promise.resolve(name === 'blue' ? blue : undefined),
    };
    terminal.host.answer('cat', () => ({ stdout: '' })); // /proc/net/ip_tables_names, as it is in there
    expect((await terminal.run('status --netns=blue', { netns })).out).toContain('none; run `mendwall init` first');
    expect(entered).toContain('iptables-save');
    expect((await terminal.run('--state /s --netns blue config show', { netns })).out).toContain('"/s/netns/blue"');
    expect(await terminal.run('--netns bleu status', { netns })).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('did you mean "blue"') as string,
    });
    expect((await terminal.run('--netns blue hooks status', { netns })).exitCode).toBe(2);
  });
});
