// libvirt's hooks and its voice on D-Bus: whether mendwall hears of networks that start and stop. Pure.

import { type Check, type HookFact, judged, pass, warn } from './types.ts';

/** libvirt looks for hooks when it starts: one that was installed later is not called. */
export const hooksUnheard: Check = {
  id: 'hooks-unheard',
  judge: ({ hooks }) =>
    judged(hooks, '', (all) => {
      const there = all.filter(({ state }) => state !== 'absent');
      if (there.length === 0) return [pass('no hook of mendwall’s is installed; it hears the kernel and D-Bus')];
      const found = [...faulty(there), ...unaware(there)];
      return found.length > 0 ? found : [pass(`${there.map(({ object }) => object).join(', ')}: installed and called`)];
    }),
};

const faulty = (hooks: readonly HookFact[]): ReturnType<typeof warn>[] =>
  hooks
    .filter(({ state }) => state !== 'current')
    .map(({ object, state }) => warn(`the ${object} hook is ${state}`, 'mendwall hooks install'));

function unaware(hooks: readonly HookFact[]): ReturnType<typeof warn>[] {
  const daemons = new Map(hooks.flatMap((hook) => hook.unaware.map((daemon) => [daemon.pid, daemon] as const)));
  return [...daemons.values()].map(({ name, pid }) => {
    const objects = hooks.filter((hook) => hook.unaware.some((each) => each.pid === pid)).map(({ object }) => object);
    return warn(
      `${name} (pid ${pid}) started before the hooks were installed (${objects.join(', ')}) and may not call them`,
      `systemctl restart ${name}`,
    );
  });
}

/** libvirtd itself is not on the bus; libvirt-dbus is, and falls silent when libvirtd restarts. */
export const libvirtDbus: Check = {
  id: 'libvirt-dbus',
  judge: ({ bus }) =>
    judged(bus, '', (fact) => {
      switch (fact.kind) {
        case 'no-libvirt':
          return [pass('no libvirt daemon runs')];
        case 'answers':
          return [pass('libvirt-dbus answers')];
        case 'on-demand':
          return [pass('libvirt-dbus is installed; D-Bus starts it when it is called')];
        case 'missing':
          return [
            warn(
              'libvirt-dbus is not installed: networks that start and stop are heard by their rules and by hooks only',
              'apt-get install libvirt-dbus   # or: dnf install libvirt-dbus',
            ),
          ];
        case 'mute':
          return [
            warn(`libvirt-dbus is on the bus and does not answer: ${fact.why}`, 'systemctl restart libvirt-dbus'),
          ];
      }
    }),
};
