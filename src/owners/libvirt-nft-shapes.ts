// The forms of libvirt's rules in `libvirt_network`, whatever network they are for. Pure.
// Does not: say that libvirt wrote it. An admin may write the same line.

import type { Family } from '../ruleset/types.ts';

export interface NftShape {
  readonly line: 'wall' | 'subnet' | 'nat';
  /** Name of the bridge; absent for nat, and when it is gone. */
  readonly bridge?: string;
  /** Index of an interface that exists no more: nft prints the number only then. */
  readonly gone?: number;
  readonly subnet?: string;
  /** Of nat's lines that translate: for which protocol. */
  readonly translates?: 'tcp' | 'udp' | 'any';
}

const FACE = '(?:"(?<name>[^"]+)"|(?<index>\\d+))'; // "virbr0", 75
const AGAIN = '(?:"\\k<name>"|\\k<index>)';
const SUBNET = '(?<subnet>[0-9a-f.:]+(?:/\\d+)?)'; // 192.168.122.0/24
const PORTS = ':\\d+-\\d+';

/** `%` is the family. */
const FORMS: Readonly<Record<string, readonly (readonly [NftShape['line'], string])[]>> = {
  guest_output: [
    ['wall', `iif ${FACE} counter reject`],
    ['subnet', `% saddr ${SUBNET} iif ${FACE}(?: oifname "[^"]+")? counter accept`],
  ],
  guest_input: [
    ['wall', `oif ${FACE} counter reject`],
    ['subnet', `(?:iifname "[^"]+" )?oif ${FACE} % daddr ${SUBNET} ct state established,related counter accept`],
    ['subnet', `% daddr ${SUBNET} (?:iifname "[^"]+" )?oif ${FACE} counter accept`],
  ],
  guest_cross: [['wall', `iif ${FACE} oif ${AGAIN} counter accept`]],
  guest_nat: [
    [
      'nat',
      `(?:oifname "[^"]+" )?% saddr ${SUBNET} % daddr (?:224\\.0\\.0\\.0/24|255\\.255\\.255\\.255|ff02::/16) counter return`,
    ],
    [
      'nat',
      `(?:meta l4proto (?<protocol>tcp|udp) )?% saddr ${SUBNET} % daddr != \\k<subnet> (?:oifname "[^"]+" )?counter (?<translate>masquerade(?: to ${PORTS})?|snat to [0-9.]+(?:-[0-9.]+)?(?:${PORTS})?)`,
    ],
  ],
};

const COMPILED = new Map(
  (['ip', 'ip6'] as const).flatMap((family) =>
    Object.entries(FORMS).map(([chain, forms]) => {
      const lines = forms.map(([line, form]) => ({ line, form: new RegExp(`^${form.replaceAll('%', family)}$`) }));
      return [`${family} ${chain}`, lines] as const;
    }),
  ),
);

/** The shape of one rule, given without counter values; undefined when libvirt writes none like it in this chain. */
export function shapeOfNft(family: Family, chain: string, text: string): NftShape | undefined {
  for (const { line, form } of COMPILED.get(`${family} ${chain}`) ?? []) {
    const found = form.exec(text);
    if (found !== null) return shapeFrom(line, found.groups ?? {});
  }
  return undefined;
}

function shapeFrom(line: NftShape['line'], groups: Readonly<Record<string, string | undefined>>): NftShape {
  const { name, index, subnet, protocol, translate } = groups;
  return {
    line,
    ...(name !== undefined && { bridge: name }),
    ...(index !== undefined && { gone: Number(index) }),
    ...(subnet !== undefined && { subnet }),
    ...(translate !== undefined && { translates: protocol === 'tcp' || protocol === 'udp' ? protocol : 'any' }),
  };
}
