//go:build asan

package libvmi

// asan: allocations are counted otherwise.
const asan = true
