// Which rules are pinned, where pinning stops, and the text that comes of it.

import { describe, expect, it } from 'vitest';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import { pinFormOf } from '../../src/plan/pin-forms.ts';
import { pinText, readTranslation, translationInput } from '../../src/plan/pin-text.ts';
import { planPins, type PinPlan } from '../../src/plan/pin.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Family } from '../../src/ruleset/types.ts';

const BASE = [':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ':OUTPUT ACCEPT [0:0]', ':LIBVIRT_FWX - [0:0]'];

const ruleset = (family: Family, lines: readonly string[]): ReturnType<typeof classify> =>
  classify(parseDocument(['*filter', ...BASE, ...lines, 'COMMIT', ''].join('\n'), family).ruleset, undefined);

/** What is pinned of these rules; `live` when others stand than are wished. */
function plan(lines: readonly string[], live: readonly string[] = lines, family: Family = 'ip'): PinPlan {
  const wish = userPartOf(ruleset(family, lines)).tables.get('filter');
  return planPins({ family, wish, live: ruleset(family, live).tables.get('filter') });
}

const pinned = (result: PinPlan): string[] =>
  result.chains.flatMap(({ name, rules }) =>
    rules.map(({ matches, verdict }) => [name, matches, verdict.kind].filter((word) => word !== '').join(' ')),
  );
const stops = ({ runs }: PinPlan): string[] =>
  runs.flatMap(({ stopped }) => (stopped === undefined ? [] : [stopped.text]));

describe('a rule', () => {
  it.each([
    '-s 10.0.0.0/8 ! -i eth0 -p tcp -m tcp --dport 22',
    '! -d 10.1.2.3/32 -o br+',
    '-p udp -m udp --sport 1000:2000 ! --dport 53',
    '-p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN',
    '-p udp -m multiport --dports 53,1000:1600',
    '-m conntrack --ctstate RELATED,ESTABLISHED',
    '-p tcp -m state --state NEW -m tcp --dport 80',
    '-p icmp -m icmp --icmp-type 8',
    '-m iprange --src-range 10.0.0.1-10.0.0.9',
    '! -p esp',
  ])('%s is copied', (matches) => {
    expect(pinFormOf(`-A INPUT ${matches} -j DROP`, 'ip')).toEqual({
      kind: 'copy',
      matches,
      verdict: { kind: 'drop' },
    });
  });

  it('without matches is copied, too, and comments are left out', () => {
    expect(pinFormOf('-A INPUT -j ACCEPT', 'ip')).toEqual({ kind: 'copy', matches: '', verdict: { kind: 'accept' } });
    expect(pinFormOf('-A INPUT -i lo -m comment --comment "a \\"b\\" -j DROP" -j ACCEPT', 'ip')).toEqual({
      kind: 'copy',
      matches: '-i lo',
      verdict: { kind: 'accept' },
    });
  });

  it.each([
    ['-m limit --limit 5/min -j DROP', 'ip'],
    ['-m statistic --mode random --probability 0.5 -j DROP', 'ip'],
    ['-m recent --rcheck -j DROP', 'ip'],
    ['-m recent --set', 'ip'],
    ['-m recent --set -j LOG', 'ip'],
    ['-m hashlimit --hashlimit-above 1/sec --hashlimit-name x -j LOG', 'ip'],
    ['-m set --match-set bad src -j DROP', 'ip'],
    ['-m mark --mark 0x1 -j ACCEPT', 'ip'],
    ['-m string --string " -j LOG" --algo bm -j DROP', 'ip'],
    ['-j MARK --set-xmark 0x1/0xffffffff', 'ip'],
    ['-j NFQUEUE --queue-num 1', 'ip'],
    ['-j SET --add-set bad src', 'ip'],
    ['-p tcp -m tcp -j DROP', 'ip'],
    ['-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j DROP', 'ip'],
    ['-p tcp -m tcp --tcp-flags RST RST -j DROP', 'ip'],
    ['-p tcp -m tcp --tcp-flags FIN,SYN NONE -j DROP', 'ip'],
    ['-p udp -m multiport ! --dports 1,2 -j DROP', 'ip'],
    ['-p udp -m multiport --ports 1,2 -j DROP', 'ip'],
    ['-p udp -m multiport --dports 53,50:60 -j DROP', 'ip'],
    ['-m conntrack ! --ctstate NEW -j DROP', 'ip'],
    ['-m conntrack --ctstate NEW,DNAT -j DROP', 'ip'],
    ['-m conntrack --ctorigdst 10.0.0.1/32 -j DROP', 'ip'],
    ['-s 10.0.0.5/255.0.0.255 -j DROP', 'ip'],
    ['-f -j DROP', 'ip'],
    ['-p icmp -m icmp --icmp-type any -j DROP', 'ip'],
    ['-p ah -j DROP', 'ip6'],
    ['-p udp -j REJECT --reject-with tcp-reset', 'ip'],
    ['-j REJECT --reject-with icmp-proto-unreachable', 'ip'],
  ] as const)('%s is a stop', (rule, family) => {
    expect(pinFormOf(`-A INPUT ${rule}`, family).kind).toBe('stop');
  });

  it.each([
    '-j LOG --log-prefix "x -j DROP"',
    '-i eth0 -m limit --limit 5/min -j LOG --log-prefix "end: " --log-level 7',
    '-p tcp -m tcp --dport 22 -m mark --mark 0x1 -j NFLOG --nflog-group 2',
  ])('%s is a stop: what is pinned below it would be missing in the log', (rule) => {
    expect(pinFormOf(`-A INPUT ${rule}`, 'ip')).toMatchObject({ kind: 'stop', why: expect.stringContaining('logged') });
  });

  it('without a target is nothing to copy', () => {
    expect(pinFormOf('-A INPUT -s 10.0.0.0/8', 'ip').kind).toBe('nothing');
  });
});

describe('a run', () => {
  it('ends at the first foreign rule, and behind its last drop', () => {
    const rules = [
      '-A FORWARD -s 10.0.0.1/32 -j ACCEPT',
      '-A FORWARD -s 10.0.0.0/8 -j DROP',
      '-A FORWARD -i lo -j ACCEPT',
    ];
    const result = plan([...rules, '-A FORWARD -j LIBVIRT_FWX', '-A FORWARD -j DROP']);
    expect(pinned(result)).toEqual(['FORWARD -s 10.0.0.1/32 accept', 'FORWARD -s 10.0.0.0/8 drop']);
    expect(result.runs.find(({ chain }) => chain === 'FORWARD')).toEqual({
      family: 'ip',
      chain: 'FORWARD',
      rules: 2,
      drops: 1,
      stopped: undefined,
    });
  });

  it('is nothing without a drop', () => {
    expect(plan(['-A INPUT -i lo -j ACCEPT', '-A INPUT -j LIBVIRT_FWX']).chains).toEqual([]);
  });

  it('stops at the first rule that is not exact, also when that is a drop', () => {
    const limit = '-A INPUT -m limit --limit 5/min -j ACCEPT';
    const result = plan(['-A INPUT -s 10.0.0.1/32 -j DROP', limit, '-A INPUT -j DROP']);
    expect([pinned(result), stops(result)]).toEqual([['INPUT -s 10.0.0.1/32 drop'], [limit]]);
  });

  it('holds though who keeps a slot has put himself on top since', () => {
    const wish = ['-A FORWARD -s 10.0.0.1/32 -j DROP', '-A FORWARD -j LIBVIRT_FWX'];
    expect(pinned(plan(wish, [...wish].reverse()))).toEqual(['FORWARD -s 10.0.0.1/32 drop']);
  });

  it('is nothing below a neighbour that keeps no slot: docker lets its containers through on purpose', () => {
    const wish = ['-A FORWARD -s 10.0.0.1/32 -j DROP'];
    const live = [':DOCKER - [0:0]', '-A FORWARD -o docker0 -j DOCKER', ...wish];
    expect(pinned(plan(wish, live))).toEqual([]);
  });

  it('is no longer than what stands', () => {
    const wish = ['-A INPUT -s 10.0.0.1/32 -j DROP', '-A INPUT -s 10.0.0.2/32 -j DROP'];
    expect(pinned(plan(wish, wish.slice(0, 1)))).toEqual(['INPUT -s 10.0.0.1/32 drop']);
    expect(pinned(plan(wish, ['-A INPUT -j ACCEPT', ...wish]))).toEqual([]);
  });

  it('takes along the chains it jumps to, whole or not at all', () => {
    const chains = [':web - [0:0]', ':deep - [0:0]'];
    const good = [
      ...chains,
      '-A INPUT -p tcp -j web',
      '-A INPUT -j DROP',
      '-A web -j deep',
      '-A web -j RETURN',
      '-A deep -i lo -j DROP',
    ];
    expect(pinned(plan(good))).toEqual([
      'deep -i lo drop',
      'web jump',
      'web return',
      'INPUT -p tcp jump',
      'INPUT drop',
    ]);
    const bad = plan([...good, '-A deep -m recent --rcheck -j RETURN']);
    expect([pinned(bad), stops(bad)]).toEqual([[], ['-A INPUT -p tcp -j web']]);
  });

  it('does not enter a chain in which a neighbour stands, or whose rules are not those of the wish', () => {
    const wish = [':web - [0:0]', '-A FORWARD -j web', '-A web -j DROP'];
    expect(pinned(plan(wish))).toEqual(['web drop', 'FORWARD jump']);
    expect(pinned(plan(wish, [...wish.slice(0, 2), '-A web -j LIBVIRT_FWX', '-A web -j DROP']))).toEqual([]);
    expect(pinned(plan(wish, [...wish.slice(0, 2), '-A web -j ACCEPT', '-A web -j DROP']))).toEqual([]);
  });

  it('stops where a shared chain asks for a device that the hook does not have', () => {
    const rules = [':web - [0:0]', '-A INPUT -j web', '-A FORWARD -j web', '-A web ! -o eth0 -j DROP'];
    expect(pinned(plan(rules))).toEqual(['web ! -o eth0 drop', 'FORWARD jump']);
  });
});

describe('the text', () => {
  const rules = [
    ':web - [0:0]',
    '-A INPUT -i lo -j ACCEPT',
    '-A INPUT -p tcp -m tcp --dport 22 -j web',
    '-A web -j DROP',
  ];

  it('asks iptables for the matches alone', () => {
    expect(translationInput(plan(rules))).toBe(
      '*filter\n:pin - [0:0]\n-A pin -j DROP\n-A pin -i lo -j DROP\n-A pin -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n',
    );
  });

  it('is one table a family, replaced in one transaction', () => {
    const lines = ['', 'iifname "lo"', 'tcp dport 22'];
    expect(
      pinText(
        [
          { plan: plan(rules), lines },
          { plan: plan([], [], 'ip6'), lines: [] },
        ],
        'mw-1234abcd',
      ),
    ).toBe(
      `add table ip mendwall
delete table ip mendwall
table ip mendwall {
	chain mw-1234abcd {
	}
	chain user-web {
		counter drop
	}
	chain input {
		type filter hook input priority -10; policy accept;
		iifname "lo" counter accept
		tcp dport 22 counter jump user-web
	}
}
add table ip6 mendwall
delete table ip6 mendwall
`,
    );
  });

  it.each([
    ['a comment', '# -t filter -A pin -i lo -j DROP '],
    ['a match that is lost', 'add rule ip filter pin counter drop'],
    ['a negation too many', 'add rule ip filter pin iifname != "lo" counter drop'],
    ['another verdict', 'add rule ip filter pin iifname "lo" counter accept'],
    ['another family', 'add rule ip6 filter pin iifname "lo" counter drop'],
    ['a second statement', 'add rule ip filter pin iifname "lo" limit rate 1/second; drop counter drop'],
  ])('is not made of %s', (_, line) => {
    const one = plan(['-A INPUT -i lo -j DROP']);
    expect(readTranslation(one, `# Translated by ...\nadd table ip filter\n${line}\n`)).toEqual({
      kind: 'unsaid',
      rules: new Map([['-A INPUT -i lo -j DROP', 'iptables has no translation of it']]),
    });
    expect(readTranslation(one, 'add rule ip filter pin iifname "lo" counter drop\n').kind).toBe('translated');
  });

  it('is not made of fewer or more lines than rules', () => {
    const two = plan(['-A INPUT -i lo -j DROP', '-A INPUT -i lo -p tcp -j DROP']);
    expect(readTranslation(two, 'add rule ip filter pin iifname "lo" counter drop\n').kind).toBe('unsaid');
  });
});
