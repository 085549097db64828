// The lab itself: what the other lab tests stand on.

import { afterEach, describe, expect, it } from 'vitest';

import { installUserRules, iptables, restartNetwork, restoreFile } from './actors.ts';
import { upHypervisor, type Hypervisor, type HypervisorOptions } from './host.ts';
import { bridgeWithoutLibvirt, oldLibvirtReload, oldLibvirtStart, replay } from './old-libvirt.ts';
import { ALL_TRAFFIC, traffic } from './probes.ts';
import { LAB_FILTER } from './tcg-guest.ts';
import { USER_RULES, rulesOf } from './user-rules.ts';

let running: Hypervisor[] = [];

async function up(options: Omit<HypervisorOptions, 'name'> = {}): Promise<Hypervisor> {
  const hypervisor = await upHypervisor({ name: `mwl-${running.length}`, ...options });
  running.push(hypervisor);
  return hypervisor;
}

afterEach(async () => {
  await Promise.all(running.map((hypervisor) => hypervisor.down()));
  running = [];
});

describe.each(['nft', 'legacy'] as const)('a private hypervisor with iptables-%s', (engine) => {
  it('comes up with a guest in under 15 s, and all four kinds of traffic flow', async () => {
    const startedMs = performance.now();
    const hypervisor = await up({ engine });
    await hypervisor.addGuest();
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    await installUserRules(hypervisor);
    expect(await traffic(hypervisor)).toEqual(ALL_TRAFFIC);
    expect(await hypervisor.sh('iptables -V')).toContain(engine === 'nft' ? '(nf_tables)' : '(legacy)');
  });

  it('goes dark when iptables-restore loads an admin file without libvirt in it', async () => {
    const hypervisor = await up({ engine });
    await hypervisor.addGuest();
    await installUserRules(hypervisor);
    await restoreFile(hypervisor);
    expect(await traffic(hypervisor)).toMatchObject({ dhcp: false, dns: false, natOut: false });
    // The file has no *mangle, so libvirt's one rule there stays; in filter and nat only the file is left.
    const filterAndNat = await hypervisor.sh('iptables-save -t filter; iptables-save -t nat');
    expect(rulesOf(filterAndNat).toSorted()).toEqual(rulesOf(USER_RULES.ip).toSorted());
  });
});

describe('libvirt in the lab', () => {
  it('restarts, reloads and restarts a network, and the guest is back each time', async () => {
    const hypervisor = await up();
    await hypervisor.addGuest();
    await installUserRules(hypervisor);
    const before = await hypervisor.save();
    await hypervisor.libvirtd.restart();
    await hypervisor.libvirtd.sighup();
    await hypervisor.libvirtd.quiet();
    expect(await hypervisor.save()).toEqual(before);
    await restartNetwork(hypervisor);
    expect(await traffic(hypervisor)).toEqual(ALL_TRAFFIC);
  });

  it('writes nwfilter rules for a real guest', async () => {
    const hypervisor = await up({ nwfilter: true });
    await hypervisor.startTcgGuest('filtered', undefined, LAB_FILTER);
    expect(rulesOf((await hypervisor.save()).ip, 'FORWARD')).toContain('-A FORWARD -j libvirt-in');
    await hypervisor.stopTcgGuest('filtered');
  });

  it('of 2010 hides the port forward when it reloads', async () => {
    const hypervisor = await up({ libvirt: false });
    await bridgeWithoutLibvirt(hypervisor);
    await hypervisor.addGuest();
    await replay(hypervisor, oldLibvirtStart('kvm-fedora13'));
    await iptables(
      hypervisor,
      '-t nat -A PREROUTING -i eth0 -p tcp --dport 8022 -j DNAT --to-destination 192.168.122.10:22',
    );
    await iptables(hypervisor, '-I FORWARD 1 -d 192.168.122.10/32 -p tcp -m tcp --dport 22 -j ACCEPT');
    expect(await traffic(hypervisor)).toEqual(ALL_TRAFFIC);
    await replay(hypervisor, oldLibvirtReload('kvm-fedora13'));
    expect(await traffic(hypervisor)).toEqual({ ...ALL_TRAFFIC, portForwardIn: false });
  });
});
