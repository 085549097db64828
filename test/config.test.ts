import { describe, expect, it } from 'vitest';
import { netnsEntryFor } from '../src/config/netns.ts';
import { OPTIONS, defaultConfigText } from '../src/config/options.ts';
import { configInNetns, type ConfigRead, printConfigProblem, readConfig, type Setting } from '../src/config.ts';
import { createFakeFiles } from './fake/files.ts';

const PATH = '/etc/mendwall/mendwall.toml';

function read(files: Readonly<Record<string, string>>, overrides: readonly Setting[] = []): Promise<ConfigRead> {
  const fake = createFakeFiles();
  for (const [path, text] of Object.entries(files)) fake.texts.set(path, text);
  return readConfig(fake, { path: PATH, explicit: false, overrides });
}

async function problems(text: string): Promise<string[]> {
  const found = await read({ [PATH]: text });
  return found.kind === 'problems' ? found.problems.map(printConfigProblem) : [];
}

async function settings(
  files: Readonly<Record<string, string>>,
  overrides: readonly Setting[] = [],
): Promise<Map<string, Setting>> {
  const found = await read(files, overrides);
  if (found.kind === 'problems') throw new Error(found.problems.map(printConfigProblem).join('\n'));
  return new Map(found.settings.map((setting) => [setting.key, setting]));
}

describe('the configuration', () => {
  it('is that of the defaults without a file, with an empty one, and with the one that init writes', async () => {
    const bare = await read({});
    expect(bare).toMatchObject({
      config: {
        mode: 'observe',
        onDelete: 'pending',
        onLoad: 'adopt',
        repair: true,
        contention: { budget: 5, windowMs: 60_000 },
      },
    });
    expect(await read({ [PATH]: '' })).toEqual(bare);
    expect(await read({ [PATH]: defaultConfigText() })).toEqual(bare);
  });

  it('takes each option that the default file shows, once its # is gone', async () => {
    const text = defaultConfigText().replace(/^# ([\w-]+ = )/gm, '$1');
    const found = await settings({ [PATH]: text });
    for (const { key, initial } of OPTIONS)
      expect(found.get(key)).toEqual({ key, value: initial, from: expect.stringContaining(`${PATH}:`) as string });
  });

  it('is read from conf.d after the main file, in the order of the names', async () => {
    const found = await settings({
      [PATH]: 'mode = "merge"\n',
      '/etc/mendwall/conf.d/20-b.toml': 'mode = "merge"\n',
      '/etc/mendwall/conf.d/10-a.toml': 'mode = "observe"\n',
      '/etc/mendwall/conf.d/README': 'no = 1',
    });
    expect(found.get('mode')).toEqual({ key: 'mode', value: 'merge', from: '/etc/mendwall/conf.d/20-b.toml:1' });
  });

  it('says where each value came from; the command line wins', async () => {
    const found = await settings({ [PATH]: '# a\n[libvirt]\n  repair = false\n' }, [
      { key: 'paths.state', value: '/s', from: '--state' },
    ]);
    expect(found.get('libvirt.repair')?.from).toBe(`${PATH}:3`);
    expect(found.get('paths.state')).toEqual({ key: 'paths.state', value: '/s', from: '--state' });
    expect(found.get('user.on_load')?.from).toBe('default');
  });

  it('looks for the spool in the run folder, wherever that is', async () => {
    expect((await settings({ [PATH]: '[paths]\nrun = "/r"\n' })).get('paths.spool')?.value).toBe('/r/spool');
    expect((await settings({ [PATH]: '[paths]\nrun = "/r"\nspool = "/x"\n' })).get('paths.spool')?.value).toBe('/x');
  });

  it.each([
    [
      'mode = "merg"\n',
      `${PATH}:1:1: config-bad-value: key "mode": expected "observe" or "merge", found "merg" (did you mean "merge"?)`,
    ],
    [
      '\n[libvirt]\n  repair = "yes"\n',
      `${PATH}:3:3: config-bad-value: key "libvirt.repair": expected true or false, found "yes"`,
    ],
    [
      '[contention]\nbudget = 0\n',
      `${PATH}:2:1: config-bad-value: key "contention.budget": expected a whole number, 1 or more, found 0`,
    ],
    [
      'contention.window_s = 1.5\n',
      `${PATH}:1:1: config-bad-value: key "contention.window_s": expected a whole number, 1 or more, found 1.5`,
    ],
    ['[paths]\nrun = "run"\n', `${PATH}:2:1: config-bad-value: key "paths.run": expected an absolute path`],
    [
      '[libvirt]\nrepiar = true\n',
      `${PATH}:2:1: config-unknown-key: unknown key "libvirt.repiar" (did you mean "libvirt.repair"?)`,
    ],
    [
      'on_delete = "restore"\n',
      `${PATH}:1:1: config-unknown-key: unknown key "on_delete" (did you mean "user.on_delete"?)`,
    ],
    ['a = 1\nmode = \n', `${PATH}:2:8: config-syntax: `],
  ])('refuses %j with its place, what was expected and the nearest word', async (text, message) => {
    const [first = ''] = await problems(text);
    expect(first).toContain(message);
  });

  it('says all problems at once', async () => {
    expect(await problems('mode = 1\nfoo = 2\n')).toHaveLength(2);
  });

  it('refuses a file that others may write', async () => {
    const fake = createFakeFiles();
    fake.texts.set(PATH, 'mode = "merge"\n');
    const stat = await fake.stat(PATH);
    if (stat === undefined) throw new Error('the file was just written');
    const files = { ...fake, stat: () => Promise.resolve({ ...stat, mode: 0o664 }) };
    const found = await readConfig(files, { path: PATH, explicit: false, overrides: [] });
    expect(found).toMatchObject({
      kind: 'problems',
      problems: [{ code: 'config-writable', message: expect.stringContaining('0664') as string }],
    });
  });

  it('refuses a file that was asked for and is not there', async () => {
    const found = await readConfig(createFakeFiles(), { path: '/x.toml', explicit: true, overrides: [] });
    expect(found).toMatchObject({ problems: [{ code: 'config-missing', file: '/x.toml' }] });
  });

  describe('of programs that mendwall does not know', () => {
    const ACME = '[[owners]]\nname = "acme"\nchains = ["ACME-*"]\n';

    it('describes an owner by chains, comment, place and repair', async () => {
      const found = await read({
        [PATH]: `mode = "merge"\n${ACME}comment = "acme:*"\ntables = ["inet acme*"]\ntop = true\nrepair = "acme restart"\n`,
        '/etc/mendwall/conf.d/b.toml': ACME.replaceAll('acme', 'beta').replace('ACME', 'BETA'),
      });
      expect(found).toMatchObject({
        kind: 'config',
        config: {
          mode: 'merge',
          owners: [
            { id: 'acme', slot: 'none', repair: { command: 'acme restart' }, verified: 'unverified' },
            { id: 'beta', slot: 'kept' },
          ],
        },
      });
      expect(found.kind === 'config' && found.settings.filter(({ key }) => key.startsWith('owners.'))).toEqual([
        { key: 'owners.acme', value: 'ACME-*, comment acme:*, inet acme*', from: `${PATH}:2` },
        { key: 'owners.beta', value: 'BETA-*', from: '/etc/mendwall/conf.d/b.toml:1' },
      ]);
    });

    it.each([
      ['name = "Acme"\nchains = ["A-*"]', '2:1: config-bad-value: key "owners.name": expected small letters'],
      ['name = "docker"\nchains = ["A-*"]', '2:1: config-bad-value: key "owners.name": expected a name that no other'],
      ['name = "acme"', '1:1: config-bad-value: [[owners]]: expected "chains", "comment" or "tables"'],
      [
        'chains = ["A-*"]',
        '1:1: config-bad-value: key "owners.name": expected small letters, digits and "-", as in "acme-agent", found nothing',
      ],
      ['name = "acme"\n  chains = ["*"]', '3:3: config-bad-value: key "owners.chains"'],
      ['name = "acme"\nchains = "ACME"', '3:1: config-bad-value: key "owners.chains": expected a list'],
      [
        'name = "acme"\nchains = ["FORWARD"]',
        '3:1: config-bad-value: key "owners.chains": expected a chain that the program makes',
      ],
      ['name = "acme"\nchains = ["LIBVIRT_FWI"]', 'these are libvirt’s'],
      ['name = "acme"\ntables = ["ip libvirt_network"]', 'these are libvirt’s'],
      ['name = "acme"\ntables = ["acme"]', '3:1: config-bad-value: key "owners.tables": expected family and name'],
      ['name = "acme"\ntables = ["ip nat"]', '3:1: config-bad-value: key "owners.tables": expected a table that the'],
      ['name = "acme"\ncomment = "a*b"', '3:1: config-bad-value: key "owners.comment"'],
      [
        'name = "acme"\nchains = ["A-*"]\ntop = "yes"',
        '4:1: config-bad-value: key "owners.top": expected true or false, found "yes"',
      ],
      [
        'name = "acme"\nchain = ["A-*"]',
        '3:1: config-unknown-key: unknown key "chain" in [[owners]] (did you mean "chains"?)',
      ],
    ])('says what is wrong, with file and line: %s', async (text, expected) => {
      const found = await problems(`[[owners]]\n${text}\n`);
      expect(found.join('\n')).toContain(expected);
      expect(found.join('\n')).toContain(`${PATH}:`);
    });

    it('names the line in the entry that is wrong, and refuses a name twice', async () => {
      expect(await problems(`${ACME}\n${ACME}`)).toEqual([
        `${PATH}:6:1: config-bad-value: key "owners.name": expected a name that no other owner has, found "acme"`,
      ]);
    });
  });
  describe('[[netns]]', () => {
    const TEXT = '[[netns]]\npattern = "qrouter-*"\nmode = "merge"\n[[netns]]\npattern = "q?"\n';

    it('names network namespaces by pattern, each with its mode', async () => {
      const found = await read({ [PATH]: TEXT });
      expect(found).toMatchObject({
        config: { mode: 'observe', netns: [{ pattern: 'qrouter-*', mode: 'merge' }, { pattern: 'q?' }] },
      });
      expect(found.kind === 'config' && found.settings.filter(({ key }) => key.startsWith('netns.'))).toEqual([
        { key: 'netns.qrouter-*', value: 'merge', from: `${PATH}:1` },
        { key: 'netns.q?', value: "the daemon's mode", from: `${PATH}:4` },
      ]);
    });

    it.each([
      ['qrouter-1', 'qrouter-*'],
      ['qrouter-', 'qrouter-*'],
      ['q1', 'q?'],
      ['q12', undefined],
      ['aqrouter-1', undefined],
    ])('%s is meant by %s', async (name, pattern) => {
      const found = await read({ [PATH]: `${TEXT}[[netns]]\npattern = "x.y"\n` });
      expect(found.kind === 'config' && netnsEntryFor(found.config.netns, name)?.pattern).toBe(pattern);
      expect(found.kind === 'config' && netnsEntryFor(found.config.netns, 'xzy')).toBeUndefined();
    });

    it('gives a namespace folders of its own, its mode, and loads that are always adopted', async () => {
      const fake = createFakeFiles();
      fake.texts.set(PATH, `${TEXT}[user]\non_load = "restore"\n[paths]\nstate = "/s"\nspool = "/sp"\n`);
      const found = await readConfig(fake, { path: PATH, explicit: false, overrides: [], netns: 'qrouter-1' });
      expect(found).toMatchObject({
        config: {
          mode: 'merge',
          onLoad: 'adopt',
          stateDir: '/s/netns/qrouter-1',
          runDir: '/run/mendwall/netns/qrouter-1',
          spool: '/run/mendwall/netns/qrouter-1/spool',
          netns: [],
        },
      });
      expect(found.kind === 'config' && found.settings).toContainEqual({
        key: 'paths.state',
        value: '/s/netns/qrouter-1',
        from: '--netns',
      });
    });

    it.each([
      ['[[netns]]\nmode = "merge"', '1:1: config-bad-value: key "netns.pattern": expected a name'],
      ['[[netns]]\npattern = "../x"', '2:1: config-bad-value: key "netns.pattern": expected a name'],
      ['[[netns]]\npattern = ".."', '2:1: config-bad-value: key "netns.pattern"'],
      [
        '[[netns]]\npattern = "a"\nmode = "merg"',
        '3:1: config-bad-value: key "netns.mode": expected "observe" or "merge" (did you mean "merge"?), found "merg"',
      ],
      [
        '[[netns]]\npatern = "a"',
        '2:1: config-unknown-key: unknown key "patern" in [[netns]] (did you mean "pattern"?)',
      ],
      ['netns = "qrouter-*"', '1:1: config-bad-value: [[netns]]: expected a table'],
    ])('refuses %j', async (text, message) => {
      expect((await problems(text)).join('\n')).toContain(`${PATH}:${message}`);
    });
  });
});

describe('[repair] and [[order]]', () => {
  it('are off, and name neighbours that can be helped so', async () => {
    const found = await read({ [PATH]: '[repair]\nfail2ban = "ask"\nxen = "reinsert"\ndocker = "off"\n' });
    expect(found).toMatchObject({
      kind: 'config',
      config: { repairs: { fail2ban: 'ask', xen: 'reinsert' }, order: [] },
    });
    expect(await read({})).toMatchObject({ config: { repairs: {}, order: [] } });
    if (found.kind === 'config') expect(configInNetns(found.config, 'red').repairs).toEqual({});
  });

  it.each([
    ['[repair]\nfail2ban = "reinsert"\n', 'config-bad-value'],
    ['[repair]\nproxmox = "ask"\n', 'config-unknown-key'],
    ['[[order]]\nuser_chain = "INPUT"\nabove = "fail2bann"\n', 'config-bad-value'],
    ['[[order]]\nuser_chain = "INPUT"\nabove = "libvirt"\n', 'config-bad-value'],
    ['[[order]]\nabove = "fail2ban"\n', 'config-bad-value'],
    ['[[order]]\nuser_chain = "INPUT"\nabove = "fail2ban"\nbelow = "ufw"\n', 'config-unknown-key'],
  ])('refuse %s', async (text, code) => {
    expect(await read({ [PATH]: text })).toMatchObject({ kind: 'problems', problems: [{ code, file: PATH }] });
  });

  it('take the name of an [[owners]] entry, and show in the settings', async () => {
    const text = '[[order]]\nuser_chain = "INPUT"\nabove = "acme"\n\n[[owners]]\nname = "acme"\nchains = ["ACME"]\n';
    expect(await read({ [PATH]: text })).toMatchObject({ config: { order: [{ chain: 'INPUT', above: 'acme' }] } });
    expect((await settings({ [PATH]: text })).get('order.INPUT.acme')?.value).toBe('above');
  });
});
