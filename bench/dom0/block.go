package dom0

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	xc "hangbench/cgo/xenctrl"
)

// ConnectDisk connects a guest's disk that is a block device, as Xen's own block script
// does: it tells the backend which device, and xl that this is done
// (xen/include/public/io/blkif.h, tools/hotplug/Linux/block). action is the script's
// argument; any but "add" does nothing. node is the backend's node in xenstore, which xl
// passes in XENBUS_PATH.
func ConnectDisk(action, node string) (err error) {
	if action != "add" {
		return nil
	}
	store, err := xc.OpenStore()
	if err != nil {
		return fmt.Errorf("connect a disk: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	device, err := store.Read(path.Join(node, "params"))
	if err != nil {
		return fmt.Errorf("connect a disk: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return fmt.Errorf("connect disk %s: %w", device, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return fmt.Errorf("connect disk %s: it is no block device", device)
	}
	for _, n := range []struct{ name, value string }{
		{"physical-device", fmt.Sprintf("%x:%x", unix.Major(st.Rdev), unix.Minor(st.Rdev))},
		{"hotplug-status", "connected"},
	} {
		if err := store.Write(path.Join(node, n.name), n.value); err != nil {
			return fmt.Errorf("connect disk %s: %w", device, err)
		}
	}
	return nil
}
