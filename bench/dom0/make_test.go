package dom0

import "testing"

// TestMoreArgs: only kernels before 6.1 are told that the processor has no threads.
func TestMoreArgs(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]string{
		"5.10.0-46-cloud-amd64": noThreads, "6.0.0": noThreads, "4.19.0-27-amd64": noThreads,
		"6.1.0-57-cloud-amd64": "", "6.12.118+deb13-cloud-amd64": "", "7.3.1": "", "": "", "mine": "",
	} {
		if got := moreArgs(release); got != want {
			t.Errorf("%q: %q, want %q", release, got, want)
		}
	}
}
