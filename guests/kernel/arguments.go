package kernel

import "fmt"

const (
	// distroArgs lack the self-tests of the kernel's cryptography, which have no part in
	// hangs and take seconds of the emulator.
	distroArgs = "console=hvc0 quiet cryptomgr.notests"
	plainArgs  = distroArgs + " nokaslr mitigations=off"
	// noThreads hides the processor's flag HTT (cpufeatures.h: bit 28 of the first word).
	noThreads = " clearcpuid=28"
)

// Arguments returns the command line of a guest's kernel of that release. With distro the
// kernel chooses its place in memory and its mitigations as a distribution's does. Without,
// it stays where it was linked and has none.
func Arguments(release string, distro bool) string {
	if distro {
		return distroArgs + moreArgs(release)
	}
	return plainArgs + moreArgs(release)
}

// moreArgs returns what else the command line of a kernel of that release needs. With
// the flag HTT, Linux 5.10 takes a second vCPU of the lab for a thread of the first, and
// takes it off again while it boots. Linux 6.1 does not. Those between were not tried.
func moreArgs(release string) string {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n == 2 && (major < 6 || major == 6 && minor < 1) {
		return noThreads
	}
	return ""
}
