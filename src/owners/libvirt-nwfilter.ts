// libvirt's nwfilter driver: chains per guest NIC, always through iptables/ebtables, whatever the network backend is.
// It re-inserts its jumps at fixed places 1, 2, 3 each time a filter is instantiated (measured), so it keeps no slot:
// user rules kept above them would scramble its own order.

import { targetOf } from '../ruleset/iptables/lex.ts';
import type { Owner } from './types.ts';

const BASE = /^libvirt-(in|out|in-post|host-in)$/;
/** `FI-vnet0`, and FJ-/FP-/HJ- while a filter is being built (nwfilter_ebiptables_driver.c) */
const PER_NIC = /^(FI|FO|HI|FJ|FP|HJ)-\S{1,15}$/;
const JUMP = /^-A (INPUT -j libvirt-host-in|FORWARD -j libvirt-(in|out|in-post))$/;

export const libvirtNwfilter: Owner = {
  id: 'libvirt-nwfilter',
  title: "libvirt's nwfilter",
  slot: 'none',
  place: 'as-found',
  byText: true,
  claim(view, sheet) {
    if (view.table.name !== 'filter') return;
    const present = [...view.table.chains.keys()].some((name) => BASE.test(name));
    if (!present) return;
    for (const chain of view.table.chains.values()) {
      const own = BASE.test(chain.name) || PER_NIC.test(chain.name);
      if (own) sheet.chain(chain.name, { owner: 'libvirt-nwfilter', evidence: `chain name ${chain.name}` });
      chain.rules.forEach((rule, index) => {
        if (own) sheet.rule(chain.name, index, { owner: 'libvirt-nwfilter', evidence: `in chain ${chain.name}` });
        else if (rule.text.length < 40 && JUMP.test(rule.text)) {
          sheet.rule(chain.name, index, {
            owner: 'libvirt-nwfilter',
            evidence: `jump to ${targetOf(rule.text)?.name}`,
          });
        }
      });
    }
  },
};

/** True for a chain of nwfilter's by its name. */
export function isNwfilterChain(name: string): boolean {
  return BASE.test(name) || PER_NIC.test(name);
}

// --- the bridge half: table nat of ebtables -----------------------------------------------------------------------
// Measured (libvirt 9.0 and 11.3): `-A PREROUTING -i vnet0 -j libvirt-I-vnet0`, `-A POSTROUTING -o vnet0 -j libvirt-O-vnet0`, and a
// chain for each part of the filter (I-vnet0-mac, O-vnet0-ipv4). Built as libvirt-J-/-P- and J-/P-, then renamed. The jumps are appended
// anew each time, so below the user's rules. A chain of a filter begins with a protocol, by libvirt's own rule (formatnwfilter).

const BRIDGE_CHAIN = /^libvirt-[IOJP]-(\S+)$/; // libvirt-I-vnet0
const BRIDGE_PART = /^[IOJP]-(\S+?)-(?:mac|vlan|stp|arp|rarp|ipv4|ipv6)(?:-\S+)?$/; // I-vnet0-arp-ip

/** The guest's NIC (`vnet0`) whose filter a chain of a bridge table is part of; undefined for anybody else's chain. */
export function filteredNic(chain: string): string | undefined {
  return (BRIDGE_CHAIN.exec(chain) ?? BRIDGE_PART.exec(chain))?.[1];
}
