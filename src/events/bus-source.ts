// What the sources on D-Bus have in common: a set of watches, and silence after close.

import type { Watch } from '../host/host.ts';
import type { Source, SourceHandlers, SourceName } from './types.ts';

/** A source that `listen` brings to life. What is still under way at `close` reaches nobody. */
export function busSource(name: SourceName, listen: (handlers: SourceHandlers) => Promise<Watch[]>): Source {
  const watches: Watch[] = [];
  let open: SourceHandlers | undefined;
  const close = async (): Promise<void> => {
    open = undefined;
    for (const watch of watches.splice(0)) watch.close();
  };
  const start = async (handlers: SourceHandlers): Promise<void> => {
    open = handlers;
    watches.push(...(await listen({ event: (event) => open?.event(event), health: (health) => open?.health(health) })));
    if (open === undefined) await close();
  };
  return { name, start, close };
}
