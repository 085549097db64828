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

describe('a host with other neighbours', () => {
  it.each(captures('writers/'))('gives libvirt only jumps, and sets that are whole: $name', (each) => {
    const classified = classify(rulesetOf(each), undefined);
    const claimed = textsOf(classified, (owner) => owner === 'libvirt');
    expect(claimed.filter((text) => !isPlainJump(text) && !/LIBVIRT_(FWX|FWI|FWO|PRT|INP|OUT) /.test(text))).toEqual(
      [],
    );
    expect(textsOf(classified, (owner) => owner === 'user').filter((text) => isPlainJump(text))).toEqual([]);
    expect(textsOf(classified, (owner) => owner !== 'user').filter((text) => text.includes('admin'))).toEqual([]);
  });
});

describe('libvirt before 5.1', () => {
  it.each(captures('old-libvirt/'))('has its ten bare rules: $name', async (each) => {
    const classified = classify(rulesetOf(each), undefined);
    expect(textsOf(classified, (owner) => owner === 'user')).toEqual([]);
    await expect(listing(classified)).toMatchFileSnapshot(`golden/${each.name.replace('.save', '.owners.tsv')}`);
  });
});
