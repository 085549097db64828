// Xen's hotplug scripts (vif-bridge, vif-route, vif-nat). No chain, no comment; n addresses of a guest make n+1 identical
// rules for what goes out to it. Debian's packaged scripts write nothing at all.

import { neighbour } from './neighbour.ts';
import type { OwnRule } from './types.ts';

/** What the scripts write for one interface. */
const shape = (vif: string): RegExp =>
  // -A FORWARD -s 10.0.0.5/32 -m physdev --physdev-in vif1.0 --physdev-is-bridged -j ACCEPT
  new RegExp(
    `^-A FORWARD (?:-s \\S+ )?(?:-p udp )?-m physdev --physdev-(?:in|out) ${vif} --physdev-is-bridged (?:-m udp --sport 68 --dport 67 )?-j ACCEPT$`,
  );

const bridged: OwnRule = {
  telltale: '--physdev-is-bridged',
  form: shape('vif\\d+\\.\\d+(?:-emu)?'),
  evidence: 'guest interface of Xen’s (vifN.M), as its scripts write it',
};

export const xen = neighbour({
  id: 'xen',
  title: 'Xen’s vif scripts',
  rules: [bridged],
  pairs: {
    table: 'filter',
    chain: 'FORWARD',
    telltale: bridged.telltale,
    // vifname= of the guest's configuration: any name but those of a host's own ports
    form: shape('(?!(?:eth|en|wl|bond|team|br|virbr|vnet|tap|veth)[^ ]*\\d)(?<name>\\S+)'),
    both: [/ --physdev-in /, / --physdev-out /],
    evidence: 'in and out of',
  },
  programs: [{ name: /^vif-(bridge|route|nat|openvswitch)$/, reach: 1 }], // /etc/xen/scripts/vif-bridge online
  slot: 'kept',
  habits: {
    start: 'a guest’s start inserts at the top of FORWARD without looking: above every rule of yours',
    reload: 'none; a guest’s reboot deletes by text and inserts at the top again',
    stop: 'deletes by text, one by one, and stops at the first that is not there: a copy less orphans the rest',
  },
  repair: {
    command: undefined,
    onRequest: false,
    reinsert: true,
    note: 'only the guest’s next start (`xl reboot`) writes its rules again',
  },
  verified: 'writers/xen',
  source: 'Xen 4.17’s scripts as upstream has them, on Debian 12; with vifname= any interface name',
});
