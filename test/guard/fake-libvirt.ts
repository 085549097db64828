// A libvirtd on the fake machine: its command sequences one command at a time, its status files and bridges, and what it does
// when a command fails (libvirt 9.0, virFirewallApply: the rollback deletes all rules of the network; a net-start is given up).

import type { FakeHost } from '../fake/host.ts';
import { addRules, type Answer, type Argv, reload, removeRules } from '../generate/libvirt-commands.ts';
import type { BridgeNetwork } from '../generate/libvirt-rules.ts';

/** One call a command; `next()` runs it. */
export type Steps = Generator<void, void, void>;

export interface FakeLibvirt {
  /** Networks whose bridge stands and which libvirt believes to be up, oldest first. */
  readonly active: readonly BridgeNetwork[];
  netStart(network: BridgeNetwork): Steps;
  netDestroy(network: BridgeNetwork): Steps;
  /** Deletes and inserts the rules of all networks; makes no chain. */
  sighup(): Steps;
  /** firewalld's `Reloaded`, and with `restart` a new process: chains and jumps that are missing, too. */
  reloaded(): Steps;
}

const PID = 77;
const LIBVIRTD = { parents: [{ pid: PID, comm: 'libvirtd', cmdline: ['/usr/sbin/libvirtd'] }] };

/** `defined`: networks with a definition of their own, as `net-define` leaves it. */
export function createFakeLibvirt(machine: FakeHost, defined: readonly BridgeNetwork[] = []): FakeLibvirt {
  const active: BridgeNetwork[] = [];
  let chainsMade = false;
  const { texts } = machine.files;
  for (const network of defined) texts.set(`/etc/libvirt/qemu/networks/${network.name}.xml`, networkXml(network));
  const run = (argv: Argv): Answer => machine.kernel.foreign(argv, '', LIBVIRTD);

  function* all(commands: readonly Argv[]): Steps {
    for (const argv of commands) {
      run(argv);
      yield;
    }
  }

  /** False when one failed; then all of the network's rules are deleted again. */
  function* insert(network: BridgeNetwork): Generator<void, boolean, void> {
    for (const argv of addRules(network)) {
      const { exitCode } = run(argv);
      yield;
      if (exitCode === 0) continue;
      yield* all(removeRules(network));
      return false;
    }
    return true;
  }

  /** Chains, jumps, and nothing of the networks. */
  function* makeChains(): Steps {
    const session = reload([]);
    let next = session.next();
    while (!next.done) {
      const answer = run(next.value);
      yield;
      next = session.next(answer);
    }
    chainsMade = true;
  }

  function* rebuild(): Steps {
    for (const network of [...active]) {
      yield* all(removeRules(network));
      yield* insert(network);
    }
  }

  return {
    active,
    *netStart(network) {
      if (active.includes(network)) return;
      texts.set(`/sys/class/net/${network.bridge}`, '');
      if (!chainsMade) yield* makeChains();
      if (yield* insert(network)) {
        active.push(network);
        texts.set(statusFile(network), `<networkstatus>${networkXml(network)}</networkstatus>`);
      } else texts.delete(`/sys/class/net/${network.bridge}`);
    },
    *netDestroy(network) {
      if (!active.includes(network)) return;
      yield* all(removeRules(network));
      texts.delete(`/sys/class/net/${network.bridge}`);
      texts.delete(statusFile(network));
      active.splice(active.indexOf(network), 1);
    },
    sighup: rebuild,
    *reloaded() {
      yield* makeChains();
      yield* rebuild();
    },
  };
}

const statusFile = ({ name }: BridgeNetwork): string => `/run/libvirt/network/${name}.xml`;

function networkXml({ name, bridge, subnet }: BridgeNetwork): string {
  const net = subnet.replace(/\.0\/24$/, ''); // 192.168.122.0/24
  return `<network><name>${name}</name><uuid>${name}</uuid>
<forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward><bridge name='${bridge}'/>
<ip address='${net}.1' netmask='255.255.255.0'><dhcp><range start='${net}.2' end='${net}.254'/></dhcp></ip>
</network>`;
}
