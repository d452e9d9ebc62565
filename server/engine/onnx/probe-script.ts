/**
 * What the probe's child process runs, as text: it needs no file of its own in the package. CommonJS; argument 1 is a
 * graph in base64. Prints one JSON object.
 *
 * ONNX Runtime does not tell which adapter it took, so on Linux and Windows the Vulkan loader is asked for the names,
 * kinds and memories of the devices. Offsets are those of the C structures in vulkan_core.h on a 64-bit machine.
 */
export const PROBE_SCRIPT = `
const adapters = () => {
  const koffi = require('koffi');
  const vulkan = koffi.load(process.platform === 'win32' ? 'vulkan-1.dll' : 'libvulkan.so.1');
  const createInstance = vulkan.func('int vkCreateInstance(void *info, void *allocator, _Out_ uint64_t *instance)');
  const enumerate = vulkan.func(
    'int vkEnumeratePhysicalDevices(uint64_t instance, _Inout_ uint32_t *count, void *devices)');
  const properties = vulkan.func('void vkGetPhysicalDeviceProperties(uint64_t device, void *properties)');
  const memory = vulkan.func('void vkGetPhysicalDeviceMemoryProperties(uint64_t device, void *memory)');
  const info = Buffer.alloc(64);
  info.writeUInt32LE(1, 0); // VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
  const instance = [0n];
  if (createInstance(info, null, instance) !== 0) return [];
  const count = [16];
  const handles = Buffer.alloc(8 * count[0]);
  const result = enumerate(instance[0], count, handles);
  if (result !== 0 && result !== 5) return []; // 5: VK_INCOMPLETE, more than 16 devices
  return Array.from({ length: count[0] }, (_, i) => {
    const device = handles.readBigUInt64LE(8 * i);
    const about = Buffer.alloc(1024);
    properties(device, about);
    const heaps = Buffer.alloc(1024);
    memory(device, heaps);
    let localBytes = 0;
    for (let h = 0; h < heaps.readUInt32LE(260); h++) {
      const at = 264 + 16 * h;
      if (heaps.readUInt32LE(at + 8) & 1) localBytes = Math.max(localBytes, Number(heaps.readBigUInt64LE(at)));
    }
    const name = about.toString('utf8', 20, 276).split('\\0')[0];
    return { name, type: about.readUInt32LE(16), localBytes };
  });
};
const answer = (value) => console.log(JSON.stringify(value));
const main = async () => {
  let found;
  if (process.platform !== 'darwin') {
    try {
      found = adapters();
    } catch (error) {
      // Without a Vulkan loader Linux has no WebGPU; Windows has Direct3D.
      if (process.platform === 'linux') return answer({ none: 'loader' });
    }
    if (found?.length === 0 && process.platform === 'linux') return answer({ none: 'device' });
  }
  const ort = require('onnxruntime-node');
  const graph = new Uint8Array(Buffer.from(process.argv[1], 'base64'));
  try {
    const session = await ort.InferenceSession.create(graph, { executionProviders: ['webgpu'], logSeverityLevel: 4 });
    const { y } = await session.run({ x: new ort.Tensor('float32', Float32Array.of(3), [1]) });
    if (y.data[0] !== 3) return answer({ none: 'wrong' });
  } catch (error) {
    return answer(error.message.includes('No supported adapters')
      ? { none: 'driver' } : { error: error.message.split('\\n')[0].slice(0, 200) });
  }
  answer({ adapters: found });
};
main().then(() => process.exit(0));
`;
