package place

import "testing"

// TestRamdisk: guests with programs have an initramfs of their own, and the other
// guests have one whose name does not change.
func TestRamdisk(t *testing.T) {
	t.Parallel()
	if got := Ramdisk(""); got != "initrd" {
		t.Errorf("the initramfs without programs is %q", got)
	}
	if got := Ramdisk("stress-ng"); got != "initrd-stress-ng" {
		t.Errorf("the initramfs with stress-ng is %q", got)
	}
}
