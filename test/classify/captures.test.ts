// Whose each rule of the captured rulesets is. The golden files hold one line a rule: owner, evidence, table, chain, text.

import { describe, expect, it } from 'vitest';
import { type Classified, classify } from '../../src/classify/classify.ts';
import { captures, networksOf, rulesetOf } from '../captures/captures.ts';

/** `owner TAB evidence TAB table TAB chain TAB text`, in live order. */
function listing(classified: Classified): string {
  const lines: string[] = [];
  for (const table of classified.tables.values()) {
    for (const { chain, claims } of table.chains.values()) {
      chain.rules.forEach((rule, index) =>
        lines.push([claims[index]?.owner, claims[index]?.evidence, table.name, chain.name, rule.text].join('\t')),
      );
    }
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** `table TAB text` of every rule with this owner. */
function textsOf(classified: Classified, wanted: (owner: string) => boolean): string[] {
  const lines = listing(classified)
    .split('\n')
    .filter((line) => line !== '');
  return lines.filter((line) => wanted(line.split('\t')[0] ?? '')).map((line) => line.split('\t').slice(2).join(' '));
}

const LIBVIRT = captures('libvirt/');
const isPlainJump = (text: string): boolean => /-A [A-Z]+ -j LIBVIRT_[A-Z]{3}$/.test(text);

describe('a host with nothing but libvirt', () => {
  it.each(LIBVIRT)('is all libvirt’s, by its definitions: $name', async (each) => {
    const classified = classify(rulesetOf(each), await networksOf(each.name));
    expect(textsOf(classified, (owner) => owner !== 'libvirt')).toEqual([]);
  });

  it.each(LIBVIRT)('is all libvirt’s, by the shape of whole sets: $name', (each) => {
    expect(textsOf(classify(rulesetOf(each), undefined), (owner) => owner !== 'libvirt')).toEqual([]);
  });

  it.each(LIBVIRT.filter(({ name }) => name.includes('9.0-iptables-nft')))(
    'shows its evidence: $name',
    async (each) => {
      const golden = each.name.slice(each.name.lastIndexOf('/') + 1).replace('save.txt', 'owners.tsv');
      await expect(listing(classify(rulesetOf(each), await networksOf(each.name)))).toMatchFileSnapshot(
        `golden/libvirt/${golden}`,
      );
    },
  );
});

describe('a host with an admin’s rules, libvirt and nwfilter', () => {
  it.each([...captures('admin-first/'), ...captures('nwfilter/')])(
    'keeps the admin’s rules the user’s, and no other: $name',
    async (each) => {
      const classified = classify(rulesetOf(each), undefined);
      for (const text of textsOf(classified, (owner) => owner === 'user'))
        expect(text).not.toMatch(/LIBVIRT_|libvirt-|vnet/);
      for (const text of textsOf(classified, (owner) => owner !== 'user'))
        expect(text).toMatch(/LIBVIRT_|libvirt-|vnet/);
      const golden = each.name.replace('save.txt', 'owners.tsv');
      await expect(listing(classified)).toMatchFileSnapshot(`golden/${golden}`);
    },
  );
});

/** One capture of each program, the fullest. */
const GOLDEN_WRITERS = [
  'docker/05-admin-adds.iptables-nft.save',
  'fail2ban-iptables-multiport/04-restart.iptables-nft.save',
  'firewalld-iptables/02-virbr0-in-libvirt-zone.ip6tables-nft.save',
  'neutron/03-admin-adds.iptables-nft.save',
  'ufw/03-admin-adds.iptables-nft.save',
  'xen/11-upstream-vifname-online.iptables-nft.save',
  'xen/05-upstream-guest1-reboot.iptables-nft.save',
];

/** Folder of captures below writers/ -> the owner of what that program wrote; loaders write the user's rules. */
const WRITERS: Readonly<Record<string, string | undefined>> = {
  docker: 'docker',
  'fail2ban-iptables-multiport': 'fail2ban',
  'ferm-nft': undefined,
  'firewalld-iptables': 'firewalld',
  'firewalld-nftables': undefined,
  'netfilter-persistent': undefined,
  neutron: 'openstack-neutron',
  'nftables-service': undefined,
  ufw: 'ufw',
  xen: 'xen',
};
/** What the admin and the stand-in for libvirt had written before, and what the admin wrote meanwhile. */
const NOT_THE_WRITERS = /--comment "(?:admin|added after save)|ADMIN-IN|NEWCHAIN|LIBVIRT_|-A FORWARD -i dup -j DROP/;

describe('a host with other neighbours', () => {
  it('has captures of known programs only', () => {
    expect(new Set(captures('writers/').map(({ name }) => name.split('/')[1] ?? ''))).toEqual(
      new Set(Object.keys(WRITERS)),
    );
  });

  it.each(captures('writers/'))('gives each program its own lines, and nobody a line of the user’s: $name', (each) => {
    const writer = WRITERS[each.name.split('/')[1] ?? ''];
    const classified = classify(rulesetOf(each), undefined);
    const claimed = textsOf(classified, (owner) => owner === 'libvirt');
    expect(claimed.filter((text) => !isPlainJump(text) && !/LIBVIRT_(FWX|FWI|FWO|PRT|INP|OUT) /.test(text))).toEqual(
      [],
    );
    expect(textsOf(classified, (owner) => owner === 'user').filter((text) => isPlainJump(text))).toEqual([]);
    expect(textsOf(classified, (owner) => owner !== 'user').filter((text) => text.includes('"admin'))).toEqual([]);
    expect(textsOf(classified, (owner) => !['user', 'libvirt', writer].includes(owner))).toEqual([]);
    if (writer === undefined) return;
    expect(textsOf(classified, (owner) => owner !== writer).filter((text) => !NOT_THE_WRITERS.test(text))).toEqual([]);
    for (const table of classified.tables.values())
      for (const { chain, claim } of table.chains.values())
        if (chain.policy === '-' && !NOT_THE_WRITERS.test(chain.name)) expect(claim.owner).toBe(writer);
  });

  it.each(captures('writers/').filter(({ name }) => GOLDEN_WRITERS.some((golden) => name.endsWith(golden))))(
    'shows its evidence: $name',
    async (each) => {
      await expect(listing(classify(rulesetOf(each), undefined))).toMatchFileSnapshot(
        `golden/${each.name.replace('.save', '.owners.tsv')}`,
      );
    },
  );
});

describe('libvirt before 5.1', () => {
  it.each(captures('old-libvirt/'))('has its ten bare rules: $name', async (each) => {
    const classified = classify(rulesetOf(each), undefined);
    expect(textsOf(classified, (owner) => owner === 'user')).toEqual([]);
    await expect(listing(classified)).toMatchFileSnapshot(`golden/${each.name.replace('.save', '.owners.tsv')}`);
  });
});
