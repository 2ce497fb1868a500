import type { ConnectionEncrypter, SecuredConnection } from "@libp2p/interface";
import { type TLSComponents, tls } from "@libp2p/tls";

/** What TLS encrypts at once; more is cut anyway. */
const RECORD_BYTES_MAX = 16 * 1024;

/**
 * The TLS of libp2p, with which a muxed frame of ordinary size leaves in one record: by itself it writes the muxer's
 * header and the body one by one, two packets that cost both sides a system call and a turn more.
 */
export function tlsInOneRecord(): (components: TLSComponents) => ConnectionEncrypter {
  const create = tls();
  return (components) => {
    const encrypter = create(components);
    const secureInbound = encrypter.secureInbound.bind(encrypter);
    const secureOutbound = encrypter.secureOutbound.bind(encrypter);
    encrypter.secureInbound = async (...args) => joined(await secureInbound(...args));
    encrypter.secureOutbound = async (...args) => joined(await secureOutbound(...args));
    return encrypter;
  };
}

function joined(secured: SecuredConnection): SecuredConnection {
  const { connection } = secured;
  const send = connection.send.bind(connection);
  connection.send = (data) =>
    send(data instanceof Uint8Array || data.byteLength > RECORD_BYTES_MAX ? data : data.subarray());
  return secured;
}
