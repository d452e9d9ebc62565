/** An HTTP proxy on this machine that opens tunnels, as proxies of companies do, and counts them. */
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export class ProxyStandIn {
  readonly #server: Server = createServer();
  readonly #open = new Set<Socket>();
  /** `host:port` of every tunnel so far. */
  readonly tunnels: string[] = [];

  private constructor() {
    this.#server.on('connect', (request, socket: Socket, head: Buffer) => {
      this.tunnels.push(request.url ?? '');
      const [host, port] = (request.url ?? '').split(':');
      const there = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
        there.write(head);
        there.pipe(socket).pipe(there);
      });
      for (const one of [there, socket]) {
        this.#open.add(one);
        one.on('error', () => {});
      }
    });
  }

  static async start(): Promise<ProxyStandIn> {
    const proxy = new ProxyStandIn();
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
