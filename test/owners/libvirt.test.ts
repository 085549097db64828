import { describe, expect, it } from 'vitest';
import { type Classified, classify, neighbourPartOf } from '../../src/classify/classify.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { NETWORKS } from '../properties/arbitraries.ts';
import { capture, rulesetOf } from '../captures/captures.ts';

function parse(text: string): ReturnType<typeof parseDocument>['ruleset'] {
  const { ruleset, problems } = parseDocument(text, 'ip');
  expect(problems).toEqual([]);
  return ruleset;
}

/** A filter table with these rules; private chains are declared as they are used. */
function filter(...rules: string[]): string {
  const chains = new Set(
    rules.flatMap((rule) =>
      [...rule.matchAll(/(?:-A|-j|-g) ([A-Za-z_-]*(?:_|-)[A-Za-z_0-9-]+)/g)].map(([, name]) => name),
    ),
  );
  return [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    ':FORWARD ACCEPT [0:0]',
    ...[...chains].map((chain) => `:${chain} - [0:0]`),
    ...rules,
    'COMMIT',
    '',
  ].join('\n');
}

/** `owner: text` or `owner (stale): text`, in live order. */
function owners(classified: Classified): string[] {
  return [...classified.tables.values()].flatMap((table) =>
    [...table.chains.values()].flatMap(({ chain, claims }) =>
      chain.rules.map(
        (rule, index) => `${claims[index]?.owner}${claims[index]?.stale === true ? ' (stale)' : ''}: ${rule.text}`,
      ),
    ),
  );
}

const DEFAULT = NETWORKS[0] as Network;
const REJECT = '-j REJECT --reject-with icmp-port-unreachable';
const ESTABLISHED = '-A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT';

describe('inside libvirt’s own chains', () => {
  const guest = '-A LIBVIRT_FWI -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT';
  const whole = [ESTABLISHED, `-A LIBVIRT_FWI -o virbr0 ${REJECT}`];

  it.each([[undefined], [[DEFAULT]]])('a rule libvirt never writes is the user’s (networks: %#)', (networks) => {
    const classified = classify(parse(filter(guest, ...whole)), networks);
    expect(owners(classified)).toEqual([`user: ${guest}`, ...whole.map((text) => `libvirt: ${text}`)]);
  });

  it('a lone libvirt-shaped rule of an unknown network is the user’s', () => {
    const lone = '-A LIBVIRT_FWI -d 10.1.2.0/24 -o br9 -j ACCEPT';
    expect(owners(classify(parse(filter(lone, ...whole)), undefined))[0]).toBe(`user: ${lone}`);
    expect(owners(classify(parse(filter(lone, ...whole)), [DEFAULT]))[0]).toBe(`user: ${lone}`);
  });

  it('a rule for a network’s bridge that its definition does not ask for is the user’s', () => {
    const inbound = '-A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -j ACCEPT';
    expect(owners(classify(parse(filter(inbound, ...whole)), [DEFAULT]))[0]).toBe(`user: ${inbound}`);
  });

  it('a second copy is libvirt’s own: it doubles rules by itself', () => {
    expect(
      owners(classify(parse(filter(...whole, ...whole)), [DEFAULT])).every((line) => line.startsWith('libvirt:')),
    ).toBe(true);
  });

  it('what is left of a set while libvirt rewrites it is libvirt’s, by the last complete read', () => {
    const half = parse(filter(ESTABLISHED));
    expect(owners(classify(half, undefined))).toEqual([`user: ${ESTABLISHED}`]);
    const known = neighbourPartOf(classify(parse(filter(...whole)), undefined));
    expect(owners(classify(half, undefined, known))).toEqual([`libvirt: ${ESTABLISHED}`]);
  });

  it('the set of a network that is not there, not running, or has another subnet by now is stale', () => {
    const stale = whole.map((text) => `libvirt (stale): ${text}`);
    expect(owners(classify(parse(filter(...whole)), [NETWORKS[1] as Network]))).toEqual(stale);
    expect(owners(classify(parse(filter(...whole)), [{ ...DEFAULT, active: false }]))).toEqual(stale);
    const moved: Network = {
      ...DEFAULT,
      addresses: [{ family: 'ip', cidr: '10.5.5.0/24', host: '10.5.5.1', dhcp: true, tftp: false }],
    };
    expect(owners(classify(parse(filter(...whole)), [moved]))).toEqual([stale[0], `libvirt: ${whole[1]}`]);
  });
});

describe('a plain accept for a subnet that libvirt does not have', () => {
  const lone = '-A LIBVIRT_FWO -s 10.8.0.0/16 -i virbr0 -j ACCEPT';

  it('is the user’s when it stands alone', () => {
    expect(owners(classify(parse(filter(lone)), [DEFAULT]))).toEqual([`user: ${lone}`]);
  });
});

describe('a jump', () => {
  it('is libvirt’s in the exact form libvirt looks for', () => {
    expect(owners(classify(parse(filter('-A FORWARD -j LIBVIRT_FWX')), undefined))).toEqual([
      'libvirt: -A FORWARD -j LIBVIRT_FWX',
    ]);
  });

  it.each([
    '-A FORWARD -m comment --comment mine -j LIBVIRT_FWX',
    '-A FORWARD -i virbr0 -j LIBVIRT_FWI',
    '-A FORWARD -g LIBVIRT_FWO',
    '-A INPUT -j LIBVIRT_FWI',
    '-A FORWARD -j LIBVIRT_FWY',
    '-A my-chain -j LIBVIRT_FWX',
  ])('is the user’s when decorated or elsewhere: %s', (jump) => {
    expect(owners(classify(parse(filter(jump)), [DEFAULT]))).toEqual([`user: ${jump}`]);
  });
});

describe.each(['kvm-1.4.7', 'xen-1.3.5'])('the bare rules of %s', (name) => {
  const text = capture(`old-libvirt/${name}.save`).text;
  const rules = text
    .split('\n')
    .filter((line) => line.startsWith('-A '))
    .map((line) => line.trimEnd());
  const users = (changed: string, networks?: readonly Network[]): string[] =>
    owners(classify(parse(changed), networks))
      .filter((line) => line.startsWith('user: '))
      .map((line) => line.slice(6));

  it('are libvirt’s as a whole set, with the definition and without', () => {
    expect(users(text)).toEqual([]);
    expect(users(text, [DEFAULT])).toEqual([]);
  });

  it('are the user’s when the definitions know no such network', () => {
    expect(users(text, [NETWORKS[1] as Network])).toEqual(rules);
  });

  it('are the user’s in a chain whose set is not whole', () => {
    const cross = '-A FORWARD -i virbr0 -o virbr0 -j ACCEPT';
    const changed = text
      .split('\n')
      .filter((line) => !line.startsWith(cross))
      .join('\n');
    // NAT's one line stands for a network by FORWARD's set beside it.
    expect(users(changed)).toEqual(rules.filter((rule) => /-A (?:FORWARD|POSTROUTING)/.test(rule) && rule !== cross));
  });

  it('are the user’s from the second copy on', () => {
    const changed = text.replace(/(-A INPUT .*dport 53.*\n)/, '$1$1').replace(/(-A POSTROUTING.*\n)/, '$1$1');
    expect(users(changed)).toHaveLength(2);
  });

  it('stay libvirt’s while it rewrites them one by one, by the last complete read', () => {
    const known = neighbourPartOf(classify(parse(text), undefined));
    const half = text
      .split('\n')
      .filter((line) => !/REJECT|dport 67/.test(line))
      .join('\n');
    expect(owners(classify(parse(half), undefined, known)).filter((line) => line.startsWith('user'))).toEqual([]);
  });

  it('leave a lone line of the admin’s alone: another bridge, another subnet', () => {
    const extra = [
      '-A FORWARD -i br0 -o br0 -j ACCEPT',
      '-A FORWARD -s 10.0.0.0/8 -i virbr0 -j ACCEPT',
      '-A FORWARD -o virbr0 -j ACCEPT',
    ];
    const changed = text.replace('-A FORWARD', `${extra.join('\n')}\n-A FORWARD`);
    expect(users(changed)).toEqual(extra);
  });
});

describe('an admin’s MASQUERADE for libvirt’s subnet', () => {
  it('is the admin’s on a host whose libvirt has chains of its own', () => {
    const { text } = capture('libvirt/libvirt-9.0-iptables-nft/nat.iptables-save.txt');
    const mine = '-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE';
    const changed = text.replace(
      '-A POSTROUTING -j LIBVIRT_PRT\n-A LIBVIRT_PRT -s',
      `-A POSTROUTING -j LIBVIRT_PRT\n${mine}\n-A LIBVIRT_PRT -s`,
    );
    expect(owners(classify(parse(changed), [DEFAULT])).filter((line) => line.startsWith('user'))).toEqual([
      `user: ${mine}`,
    ]);
  });
});

describe('nwfilter', () => {
  const { text, name, family } = capture('nwfilter/libvirt-9.0-iptables-nft.l3.iptables-save.txt');

  it('has its base chains, its chains per NIC and its plain jumps', () => {
    const classified = classify(rulesetOf({ text, name, family }), [DEFAULT]);
    const mine = owners(classified).filter((line) => line.startsWith('libvirt-nwfilter: '));
    expect(mine).toHaveLength(20);
    expect(mine.slice(0, 4)).toEqual(
      ['host-in', 'in', 'out', 'in-post'].map(
        (end) => `libvirt-nwfilter: -A ${end === 'host-in' ? 'INPUT' : 'FORWARD'} -j libvirt-${end}`,
      ),
    );
  });

  it('has no claim on FI-something where its base chains are not', () => {
    expect(owners(classify(parse(filter('-A FI-web -j DROP')), undefined))).toEqual(['user: -A FI-web -j DROP']);
  });
});

describe('mendwall’s own', () => {
  it('are its sentinel chain and what carries its mark, not a comment that only speaks of it', () => {
    const marked = '-A INPUT -i virbr0 -m comment --comment "mendwall:open-guests default" -j ACCEPT';
    const other = '-A INPUT -m comment --comment "see mendwall: docs" -j ACCEPT';
    const classified = classify(parse(filter('-N mw-0123abcd', marked, other)), undefined);
    expect(owners(classified)).toEqual([`mendwall: ${marked}`, `user: ${other}`]);
    expect(classified.tables.get('filter')?.chains.get('mw-0123abcd')?.claim.owner).toBe('mendwall');
  });
});
