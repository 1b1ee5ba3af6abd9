//go:build !asan

package libvmi

const asan = false
