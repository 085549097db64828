import { describe, expect, it } from 'vitest';
import { captureLines, caseLines, hear, nativeShapeOf, shapeOf } from './monitor-capture.ts';

const BASE = '+INPUT +FORWARD +OUTPUT';
const GONE = '-INPUT -FORWARD -OUTPUT';

/** What each case of the capture is as commits, in order. */
const CASES: Readonly<Record<string, readonly string[]>> = {
  'first-load': [`ip filter: +table, rules +4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH`],
  a: [`ip filter: -table +table, rules +4 -4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH ${GONE} -MYCH`],
  b: [`ip filter: -table +table, rules +4 -4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH ${GONE} -MYCH`],
  c: [`ip filter: -table +table, rules -4 in INPUT FORWARD MYCH, chains ${BASE} ${GONE} -MYCH`],
  'c-prime': [`ip filter: -table, chains ${GONE}`],
  'c-second': [
    'ip mangle: +table, rules +1 in FORWARD, chains +PREROUTING +INPUT +FORWARD +OUTPUT +POSTROUTING',
    'ip nat: +table, rules +1 in POSTROUTING, chains +PREROUTING +INPUT +OUTPUT +POSTROUTING',
    `ip filter: +table, rules +4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH`,
  ],
  d: ['ip filter: rules -4 in INPUT FORWARD MYCH'],
  'd-prime': ['ip filter: chains +FORWARD', `ip filter: chains ${GONE} -MYCH`],
  'd-empty': [],
  reload: [`ip filter: -table +table, rules +4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH`],
  e: ['ip filter: rules -2 in FORWARD'],
  'f-A': ['ip filter: rules +1 in INPUT'],
  'f-I': ['ip filter: rules +1 in INPUT'],
  'f-R': ['ip filter: rules +1 -1 in INPUT'],
  'f-D': ['ip filter: rules -1 in INPUT'],
  'f-P': ['ip filter: chains +FORWARD'],
  'f-Z': [`ip filter: chains ${BASE}`],
  'f-N': ['ip filter: chains +mw-1a2b'],
  'f-E': ['ip filter: chains +mw-3c4d'],
  'f-X': ['ip filter: chains -mw-3c4d'],
  'first-ip6': ['ip6 filter: +table, rules +1 in FORWARD, chains +FORWARD'],
  'own-plan': ['ip filter: rules +1 -1 in FORWARD INPUT, chains +mw-new -mw-old'],
  i: ['ip filter: rules +2 in FORWARD'],
  'i-prime': ['ip filter: rules +1 -1 in MYCH'],
  'i-second': ['ip filter: rules +2 -2 in FORWARD'],
  foreign: ['elsewhere', 'elsewhere', 'elsewhere'],
  'g-prime': [`ip filter: -table, rules -6 in INPUT FORWARD MYCH, chains ${GONE} -MYCH -mw-new`],
  h: [
    [
      'ip mangle: -table, rules -1 in FORWARD, chains -PREROUTING -INPUT -FORWARD -OUTPUT -POSTROUTING',
      'ip nat: -table, rules -1 in POSTROUTING, chains -PREROUTING -INPUT -OUTPUT -POSTROUTING',
      'ip6 filter: -table, rules -1 in FORWARD, chains -FORWARD',
      `ip filter: -table +table, rules +1 -4 in INPUT FORWARD MYCH, chains +FORWARD ${GONE} -MYCH`,
      'elsewhere',
    ].join(' | '),
  ],
  'h-prime': ['elsewhere'],
  g: [`ip filter: -table, rules -4 in INPUT FORWARD MYCH, chains ${GONE} -MYCH | elsewhere`],
  j: [
    'ip filter: rules -4 in INPUT FORWARD MYCH',
    'ip nat: rules -1 in POSTROUTING',
    'ip filter: chains -MYCH',
    'ip nat: -table +table, rules +1 in POSTROUTING, chains +PREROUTING +INPUT +OUTPUT +POSTROUTING -PREROUTING -INPUT -OUTPUT -POSTROUTING',
    `ip filter: -table +table, rules +4 in INPUT FORWARD MYCH, chains ${BASE} +MYCH ${GONE}`,
  ],
};

const GENERATION_2 = '# new generation 2 by process 77 (iptables)';
const RULE = 'add rule ip filter FORWARD counter packets 0 bytes 0 accept';

describe('commits of iptables commands, as nft 1.0.6 printed them', () => {
  for (const [name, shapes] of Object.entries(CASES)) {
    it(`case ${name} is ${shapes.length} commit(s) of the expected shape`, () => {
      const heard = hear(caseLines('commands.txt', name));
      expect(heard.commits.map(shapeOf)).toEqual(shapes);
      expect(heard.looks).toEqual([]);
    });
  }

  it('gives the generation, the pid and the name as the kernel cut it', () => {
    const [commit] = hear(caseLines('commands.txt', 'a')).commits;
    expect(commit).toMatchObject({ generation: 3, pid: 30505, comm: 'iptables-restor' });
  });

  it('names the sentinel chain of a plan as the first thing touched', () => {
    expect(hear(caseLines('commands.txt', 'own-plan')).touched).toEqual(['ip filter mw-old']);
  });

  it('reads the whole capture without a jump', () => {
    const heard = hear(captureLines('commands.txt'));
    expect(heard.looks).toEqual([]);
    expect(heard.commits.map((commit) => commit.generation)).toEqual(heard.commits.map((_, index) => index + 2));
  });
});

describe('libvirt, as nft 1.0.6 and 1.1.3 printed it', () => {
  it.each([
    ['libvirt-9.0-net-start.txt', 19, '+1'],
    ['libvirt-9.0-net-destroy.txt', 19, '-1'],
  ])('%s is %i commits with one rule each', (file, count, sign) => {
    const shapes = hear(captureLines(file)).commits.map(shapeOf);
    expect(shapes).toHaveLength(count);
    for (const shape of shapes) expect(shape).toMatch(/^ip (filter|nat|mangle): rules [+-]1 in LIBVIRT_\w+$/); // ip nat: rules +1 in LIBVIRT_PRT
    expect(shapes.every((shape) => shape.includes(sign))).toBe(true);
  });

  it('a restart is 38 commits: each rule deleted, then each inserted', () => {
    const shapes = hear(captureLines('libvirt-9.0-restart.txt')).commits.map(shapeOf);
    expect(shapes.map((shape) => shape.includes('rules +1'))).toEqual([
      ...Array(19).fill(false),
      ...Array(19).fill(true),
    ]);
  });

  it('its own nftables table is a native one, and touches no table of iptables’', () => {
    const heard = hear(captureLines('libvirt-11-nftables-net-start.txt'));
    expect(heard.commits.map(nativeShapeOf)).toContain('ip libvirt_network: rules +1 in guest_nat');
    expect(heard.commits.every((commit) => shapeOf(commit) === 'elsewhere')).toBe(true);
    expect(heard.touched).toEqual([]);
  });
});

describe('native constructs', () => {
  it('sets, maps, counters and ct objects are elsewhere, and rules with them are counted', () => {
    expect(hear(caseLines('native.txt', 'sets')).commits.map(shapeOf)).toEqual(['elsewhere']);
    expect(hear(caseLines('native.txt', 'ctt')).commits.map(shapeOf)).toEqual(['ip6 filter: +table', 'elsewhere']);
    expect(hear(caseLines('native.txt', 'delchain')).commits.map(shapeOf)).toEqual([
      'ip filter: rules -4 in mine | elsewhere',
      'ip filter: chains -mine',
    ]);
  });

  it('set elements do not touch a table of ours', () => {
    expect(hear(caseLines('native.txt', 'setcmd')).touched).toEqual([]);
  });

  it('tables of arp, bridge and netdev are elsewhere', () => {
    expect(hear(caseLines('native.txt', 'others')).commits.map(shapeOf)).toEqual(Array(4).fill('elsewhere'));
  });

  it('a dormant flag on an iptables table is elsewhere too', () => {
    const heard = hear(['add table ip filter { flags dormant; }', GENERATION_2]);
    expect(heard.commits.map(shapeOf)).toEqual(['ip filter: +table | elsewhere']);
  });

  it('a generation without a line did something that nft has no words for', () => {
    expect(hear([GENERATION_2]).commits.map(shapeOf)).toEqual(['elsewhere']);
  });

  it('a replaced rule is one added and one deleted', () => {
    const heard = hear(['replace rule ip filter FORWARD handle 7 accept', GENERATION_2]);
    expect(heard.commits.map(shapeOf)).toEqual(['ip filter: rules +1 -1 in FORWARD']);
  });

  it('packet traces between the lines are passed over', () => {
    expect(hear(caseLines('native.txt', 'trace')).commits.map(shapeOf)).toEqual([
      'ip raw: +table, rules +1 in OUTPUT, chains +OUTPUT',
      'ip raw: rules -1 in OUTPUT',
    ]);
  });
});

describe('names that try to confuse', () => {
  it('a command named `a) (b` keeps its name', () => {
    const [commit] = hear(caseLines('native.txt', 'comm')).commits;
    expect(commit).toMatchObject({ comm: 'a) (b', pid: 13477 });
  });

  it('a chain whose name begins like another is not counted as that one', () => {
    const heard = hear([
      'add rule ip filter IN accept',
      'add rule ip filter INPUT accept',
      'add rule ip filter IN accept',
      GENERATION_2,
    ]);
    expect(heard.commits.map(shapeOf)).toEqual(['ip filter: rules +3 in IN INPUT']);
  });

  it('a generation line forged by a comment with a line break ends in a look, and the next commit is whole again', () => {
    const heard = hear([
      ...caseLines('native.txt', 'ctt'),
      ...caseLines('native.txt', 'ipnat'),
      ...caseLines('native.txt', 'others'),
    ]);
    expect(heard.looks).toEqual([
      'generation 9 came after 5: by x pid 1',
      'generation 6 came after 9: by nft pid 13431',
    ]);
    expect(heard.commits.map((commit) => commit.generation)).toEqual([4, 5, 7, 8, 9, 10]);
  });

  it('lines that are no change are passed over', () => {
    const heard = hear([
      '',
      'y"; } ',
      'add',
      'add rule',
      'add rule ip',
      'delete nonsense here now',
      '# a remark',
      RULE,
      GENERATION_2,
    ]);
    expect(heard.commits.map(shapeOf)).toEqual(['ip filter: rules +1 in FORWARD']);
  });

  it('a kernel that names no process gives a commit without one', () => {
    const [commit] = hear([RULE, '# new generation 2']).commits;
    expect(commit).toMatchObject({ generation: 2, pid: undefined, comm: '' });
  });
});

describe('touched comes at the first line', () => {
  it('once for a table, with the chain, before any generation line', () => {
    const heard = hear([RULE, RULE, 'delete rule ip nat POSTROUTING handle 5', 'delete rule ip filter INPUT handle 5']);
    expect(heard.touched).toEqual(['ip filter FORWARD', 'ip nat POSTROUTING']);
    expect(heard.commits).toEqual([]);
  });

  it('again in the next transaction', () => {
    expect(hear([RULE, GENERATION_2, RULE]).touched).toEqual(['ip filter FORWARD', 'ip filter FORWARD']);
  });

  it('without a chain when the table itself is named', () => {
    expect(hear(['delete table ip filter', 'add table ip filter']).touched).toEqual(['ip filter -']);
  });
});

describe('loss', () => {
  const generation = (id: number): string => `# new generation ${id} by process 77 (iptables)`;

  it('a jump in the generation is a look instead of the commit, then commits go on', () => {
    const heard = hear([RULE, generation(2), RULE, generation(5), RULE, generation(6)]);
    expect(heard.looks).toEqual(['generation 5 came after 2: by iptables pid 77']);
    expect(heard.commits.map((commit) => commit.generation)).toEqual([2, 6]);
  });

  it('after the error line no generation is a commit until the jump, which comes behind the events that were queued', () => {
    const lines = [1037, 1042, 1043].flatMap((id) => [RULE, generation(id)]);
    const heard = hear([RULE, generation(1036), '# ERROR: We lost some netlink events!', ...lines]);
    expect(heard.commits.map((commit) => commit.generation)).toEqual([1036, 1043]);
    expect(heard.looks).toEqual([
      'the kernel dropped events',
      'the kernel dropped events: by iptables pid 77',
      'generation 1042 came after 1037: by iptables pid 77',
    ]);
  });

  it('an error line before the first generation is not forgotten at the first one', () => {
    const heard = hear(['# ERROR: We lost some netlink events!', RULE, generation(5), RULE, generation(6)], false);
    expect(heard.commits).toEqual([]);
    expect(heard.looks).toHaveLength(3);
  });

  it('the first transaction of a new monitor may be cut, so it is a look', () => {
    const heard = hear([RULE, generation(2), RULE, generation(3)], false);
    expect(heard.looks).toEqual(['the monitor has just started: by iptables pid 77']);
    expect(heard.commits.map((commit) => commit.generation)).toEqual([3]);
  });
});

describe('cost', () => {
  it('keeps nothing of the rule texts: a commit of 20,000 rules is as small as one of 20', () => {
    const sizeOf = (count: number): number => {
      const lines = Array.from({ length: count }, (_, index) => `${RULE} ${index}`);
      return JSON.stringify(hear([...lines, GENERATION_2]).commits).length;
    };
    expect(sizeOf(20_000) - sizeOf(20)).toBeLessThan(10);
  });
});
