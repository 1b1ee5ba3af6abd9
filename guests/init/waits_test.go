package main

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestExt2: what the file system says of its blocks and inodes is what its bitmaps say, and
// where the programs are installed, the checker of file systems finds nothing to mend.
func TestExt2(t *testing.T) {
	t.Parallel()
	b := ext2()
	le := binary.LittleEndian
	super, group := b[superBlock*ext2Block:], b[groupTable*ext2Block:]
	free := func(bitmap, of int) (n uint32) {
		for _, v := range b[bitmap*ext2Block:][:ext2Block] {
			n += uint32(8 - bits.OnesCount8(v))
		}
		return n
	}
	for what, got := range map[string][3]uint32{
		"blocks": {free(blockBitmap, ext2Blocks), le.Uint32(super[12:]), uint32(le.Uint16(group[12:]))},
		"inodes": {free(inodeBitmap, ext2Inodes), le.Uint32(super[16:]), uint32(le.Uint16(group[14:]))},
	} {
		if got[0] != got[1] || got[0] != got[2] || got[0] == 0 {
			t.Errorf("free %s: %d", what, got)
		}
	}
	if len(b) != (rootBlock+1)*ext2Block || le.Uint16(super[56:]) != 0xef53 {
		t.Errorf("%d bytes, magic %#x", len(b), le.Uint16(super[56:]))
	}
	check, err := exec.LookPath("e2fsck")
	if err != nil {
		return
	}
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, append(b, make([]byte, ext2Blocks*ext2Block-len(b))...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(check, "-f", "-n", path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestServer: the server answers as the kernel expects, and holds the first lookup until
// the kernel wishes to interrupt it.
func TestServer(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &server{device: w}
	ask := func(opcode uint32, unique, node uint64, body string) {
		t.Helper()
		b, err := binary.Append(nil, binary.LittleEndian, fuseHeader{Len: uint32(fuseHeaderSize + len(body)), Opcode: opcode,
			Unique: unique, Node: node})
		if err == nil {
			err = s.answer(append(b, body...))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ask(fuseInit, 2, 0, string(make([]byte, 16)))
	ask(fuseLookup, 4, fuseRoot, servedFile+"\x00")
	ask(fuseInterrupt, 5, 0, "\x04\x00\x00\x00\x00\x00\x00\x00")
	ask(fuseForget, 6, fuseFile, "")
	ask(fuseGetattr, 8, fuseFile, "")
	ask(fuseGetattr, 10, fuseRoot, "")
	ask(fuseLookup, 12, fuseRoot, servedFile+"\x00")
	ask(fuseLookup, 14, fuseRoot, "other\x00")
	w.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	// Lengths of struct fuse_init_out, fuse_entry_out and fuse_attr_out.
	type answer struct {
		unique uint64
		len    int
		err    unix.Errno
	}
	const mode = 60 // in fuse_attr
	for _, want := range []answer{
		{2, 64, 0}, {5, 0, unix.ENOSYS}, {4, 128, 0}, {8, 104, 0}, {10, 104, 0}, {12, 128, 0}, {14, 0, unix.ENOSYS},
	} {
		head := got.Next(16)
		if len(head) < 16 {
			t.Fatalf("no answer to %d", want.unique)
		}
		n := int(binary.LittleEndian.Uint32(head)) - 16
		a := answer{binary.LittleEndian.Uint64(head[8:]), n, unix.Errno(-int32(binary.LittleEndian.Uint32(head[4:])))}
		body := got.Next(n)
		if a != want || len(body) != n {
			t.Errorf("answer %+v, want %+v", a, want)
			continue
		}
		attr := map[int]int{128: 40, 104: 16}[n]
		if attr == 0 {
			continue
		}
		isDir := binary.LittleEndian.Uint32(body[attr+mode:])&unix.S_IFMT == unix.S_IFDIR
		if isDir != (want.unique == 10) {
			t.Errorf("answer %d: directory %v", want.unique, isDir)
		}
	}
	if got.Len() > 0 {
		t.Errorf("%d bytes more", got.Len())
	}
}
