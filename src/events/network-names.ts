// libvirt-dbus speaks of networks by object path (`/org/libvirt/QEMU/network/_<uuid>`); people by name.

import type { Bus, Log } from '../host/host.ts';

const TIMEOUT_MS = 1_000;

export interface NetworkNames {
  /** The network's name, asked once and kept; undefined when it cannot be had within 1 s. Never rejects. */
  of(path: string): Promise<string | undefined>;
  forget(path: string): void;
  forgetAll(): void;
}

/** Asks libvirt-dbus. All who ask for one path wait for one answer, so events of one network keep their order. */
export function networkNames(bus: Bus, log: Log): NetworkNames {
  const names = new Map<string, Promise<string | undefined>>();
  const ask = async (path: string): Promise<string | undefined> => {
    try {
      return await askName(bus, path);
    } catch (error) {
      // gone already, or libvirt is in a hook: the event counts without its name
      log.write(
        'debug',
        `libvirt-dbus: no name for ${path}: ${error instanceof Error ? error.message : String(error)}`,
      );
      names.delete(path);
      return undefined;
    }
  };
  return {
    of(path) {
      const asked = names.get(path) ?? ask(path);
      names.set(path, asked);
      return asked;
    },
    forget: (path) => void names.delete(path),
    forgetAll: () => names.clear(),
  };
}

async function askName(bus: Bus, path: string): Promise<string | undefined> {
  const [variant] = await bus.call({
    destination: 'org.libvirt',
    path,
    interface: 'org.freedesktop.DBus.Properties',
    member: 'Get',
    signature: 'ss',
    body: ['org.libvirt.Network', 'Name'],
    timeoutMs: TIMEOUT_MS,
  });
  return typeof variant === 'object' && variant !== null && 'value' in variant ? String(variant.value) : undefined;
}
