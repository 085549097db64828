import type { ExplainResult } from '../verbs/explain.ts';
import type { PacketSpec } from '../explain/packet.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import type { PacketOptions } from './explain-words.ts';
import { addTail } from './help.ts';
import { openWorld, type Session, unlessRefused } from './session.ts';

interface Options extends PacketOptions {
  readonly rules?: string;
}

const NOTES = `PACKET
  PROTOCOL [from ADDRESS[:PORT]] to ADDRESS[:PORT] [in DEV] [out DEV] [sport PORT]
  [dport PORT] [type ICMP-TYPE] [mark MARK]
  [state new|established|related|invalid|untracked|any]

  In any order behind the protocol. The same as options: --proto, --from, --to,
  --in, --out, --sport, --dport, --type, --mark, --ctstate. IPv6 with a port is
  [2001:db8::1]:22. Without state: the first packet of its flow (new).

  Where it goes is asked of the kernel (ip route get), also after NAT; without in,
  a source address of this host means: sent by this host. What nobody says stays
  open. If that decides, the verdict is "depends", and each "depends on" says on
  what; a rule numbered 3? matches only if something unknown is so.`;

export const register: Register = (command, run) => {
  command
    .description(
      'What becomes of one packet, and whose rule decides it: the tables and chains it comes through, iptables and native nft, the rules that match, NAT, the verdict. No packet is sent, nothing is changed.',
    )
    .usage('PACKET [OPTIONS]')
    .argument('[packet...]')
    .option(
      '--rules <file>',
      'a file (- is standard input) in iptables-save form, not the live rules; this host is asked nothing then: say in and out; needs no root',
    );
  // The help names them with the words they stand for.
  for (const field of ['proto', 'from', 'to', 'sport', 'dport', 'in', 'out', 'ctstate', 'type', 'mark'])
    command.addOption(command.createOption(`--${field} <${field}>`, '').hideHelp());
  addTail(command, {
    notes: NOTES,
    examples: [
      ['mendwall explain tcp from 203.0.113.9 to 192.168.122.10:22 in eth0', ''],
      ['mendwall explain --proto tcp --from 198.51.100.1 --to 192.0.2.7 --dport 443', ''],
      ['mendwall explain --rules rules.v4 tcp to 10.0.0.5:80 in eth0 out virbr0', ''],
    ],
    exits: [
      ['0', 'a verdict: accept, drop or reject'],
      ['1', 'no verdict: it depends on something that is not known'],
      ['2', 'the packet cannot be read; no such file, or a malformed one'],
      ['5', 'the live rules cannot be read, or both engines hold rules'],
      ['7', 'needs root'],
    ],
  });
  command.action(run(show));
};

async function show(session: Session, words: readonly string[], options: Options): Promise<number> {
  const { packetOfWords } = await import('./explain-words.ts');
  const packet = packetOfWords(words, options);
  const result =
    options.rules === undefined ? await live(session, packet) : await fromFile(session, packet, options.rules);
  if (session.options.json === true) session.printJson(result);
  else {
    const { explainLines } = await import('./explain-view.ts');
    for (const line of explainLines(result, session.color)) session.printPainted(line);
  }
  return result.verdict === 'depends' ? EXIT.drift : EXIT.ok;
}

async function live(session: Session, packet: PacketSpec): Promise<ExplainResult> {
  const { explainLive } = await import('../verbs/explain.ts');
  const world = await openWorld(session);
  const result = await explainLive(world, packet);
  await world.host.close();
  if (result.kind === 'refused' && result.code === 'unreadable-rules' && session.terminal.uid !== 0)
    throw new Stop(EXIT.needsRoot, `${result.message.split('\n')[0]}: reading them needs root`);
  return unlessRefused(result);
}

async function fromFile(session: Session, packet: PacketSpec, file: string): Promise<ExplainResult> {
  const { readDocument } = await import('./debug-filters.ts');
  const { explainFile } = await import('../verbs/explain.ts');
  return explainFile((await readDocument(session, file, packet.family)).ruleset, packet);
}
