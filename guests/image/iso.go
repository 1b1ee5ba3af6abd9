package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Of ISO 9660 (ECMA-119) and El Torito, this file reads sectors of 2048 bytes, volume
// descriptors from sector 16 on, and directory records.
const (
	sector          = 2048
	firstDescriptor = 16
	maxDescriptors  = 64 // an image has about four
	maxRootBytes    = 1 << 20
)

// isoFile is one file of an image's root folder.
type isoFile struct {
	name   string // without the version: "ISOLINUX.BIN"
	offset int64  // of the data, in bytes
	size   int64  // in bytes
}

// isoImage is the content of an image's descriptors.
type isoImage struct {
	size    int64   // of the volume, in bytes
	dates   []int64 // offsets of descriptor dates, 17 bytes each
	records []int64 // offsets of directory records; the date is 18 bytes behind
	files   []isoFile
	catalog int64 // offset of the El Torito boot catalog, in bytes
}

// readISO reads the descriptors and the root folder of an image.
func readISO(r io.ReaderAt) (*isoImage, error) {
	var img isoImage
	var root []byte
	var rootAt int64
	for i := int64(0); ; i++ {
		if i == maxDescriptors {
			return nil, errors.New("the volume descriptors have no end")
		}
		at := (firstDescriptor + i) * sector
		d := make([]byte, sector)
		if _, err := r.ReadAt(d, at); err != nil {
			return nil, fmt.Errorf("read volume descriptor: %w", err)
		}
		if string(d[1:6]) != "CD001" {
			return nil, fmt.Errorf("the volume descriptor at %d has no mark", at)
		}
		switch d[0] {
		case 0: // boot record
			if strings.HasPrefix(string(d[7:39]), "EL TORITO SPECIFICATION") {
				img.catalog = int64(binary.LittleEndian.Uint32(d[71:])) * sector
			}
		case 1: // primary
			img.size = int64(binary.LittleEndian.Uint32(d[80:])) * sector
			for _, off := range []int64{813, 830, 847, 864} {
				img.dates = append(img.dates, at+off)
			}
			root, rootAt = d[156:190], at+156
		}
		if d[0] == 255 {
			break
		}
	}
	if root == nil {
		return nil, errors.New("the image has no primary volume descriptor")
	}
	img.records = append(img.records, rootAt)
	start := int64(binary.LittleEndian.Uint32(root[2:])) * sector
	size := int64(binary.LittleEndian.Uint32(root[10:]))
	if size > maxRootBytes {
		return nil, fmt.Errorf("the root folder has %d bytes", size)
	}
	dir := make([]byte, size)
	if _, err := r.ReadAt(dir, start); err != nil {
		return nil, fmt.Errorf("read the root folder: %w", err)
	}
	for pos := 0; pos < len(dir); {
		n := int(dir[pos])
		if n == 0 { // records do not cross sectors
			pos = (pos/sector + 1) * sector
			continue
		}
		if n < 34 || pos+n > len(dir) || 33+int(dir[pos+32]) > n {
			return nil, fmt.Errorf("the directory record at %d has the length %d", start+int64(pos), n)
		}
		rec := dir[pos : pos+n]
		at := start + int64(pos)
		img.records = append(img.records, at)
		name := string(rec[33 : 33+int(rec[32])])
		if rec[25]&2 == 0 { // not a folder
			name, _, _ = strings.Cut(name, ";")
			img.files = append(img.files, isoFile{
				name:   strings.TrimSuffix(name, "."),
				offset: int64(binary.LittleEndian.Uint32(rec[2:])) * sector,
				size:   int64(binary.LittleEndian.Uint32(rec[10:])),
			})
		}
		pos += n
	}
	return &img, nil
}

// fixTimes overwrites every date of an image with Time. The library writes the present
// time to some, and the files' times to others.
func fixTimes(f *os.File) error {
	img, err := readISO(f)
	if err != nil {
		return err
	}
	// A date in a descriptor has digits, hundredths of seconds, and the offset from
	// Greenwich in quarters of an hour. "No date" is all zero digits.
	long := append([]byte(Time.Format("20060102150405")+"00"), 0)
	none := append(bytes.Repeat([]byte("0"), 16), 0)
	for i, at := range img.dates {
		date := long
		if i == 2 { // expiration
			date = none
		}
		if _, err := f.WriteAt(date, at); err != nil {
			return err
		}
	}
	short := []byte{
		byte(Time.Year() - 1900), byte(Time.Month()), byte(Time.Day()),
		byte(Time.Hour()), byte(Time.Minute()), byte(Time.Second()), 0,
	}
	for _, at := range img.records {
		if _, err := f.WriteAt(short, at+18); err != nil {
			return err
		}
	}
	return nil
}

// fileHash is the length in bytes and the SHA-256 of a file.
type fileHash struct {
	size int64
	sum  [sha256.Size]byte
}

// hashAt hashes size bytes at offset. In a boot file, the 56 bytes of the boot
// information table count as zero.
func hashAt(r io.ReaderAt, offset, size int64, boot bool) (fileHash, error) {
	h := sha256.New()
	sr := io.NewSectionReader(r, offset, size)
	if boot {
		head := make([]byte, min(size, tableEnd))
		if _, err := io.ReadFull(sr, head); err != nil {
			return fileHash{}, err
		}
		clear(head[min(len(head), tableStart):])
		h.Write(head)
	}
	if _, err := io.Copy(h, sr); err != nil {
		return fileHash{}, err
	}
	return fileHash{size: size, sum: [sha256.Size]byte(h.Sum(nil))}, nil
}

// listFolder returns the hashes of the files in the folder from which an image is made.
// The keys are the files' names in the image.
func listFolder(dir string) (map[string]fileHash, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	want := make(map[string]fileHash, len(entries))
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		fi, err := f.Stat()
		if err == nil {
			want[strings.ToUpper(e.Name())], err = hashAt(f, 0, fi.Size(), e.Name() == bootFile)
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return want, nil
}

// The boot information table is in bytes 8 to 63 of the boot file: the sector of the
// primary descriptor, the sector and the length of the file, and the sum of all 32-bit
// words from byte 64 on (mkisofs(8), "EL TORITO BOOT INFORMATION TABLE").
const (
	tableStart = 8
	tableEnd   = 64
)

// verifyISO reads an image back. It checks the contents of all files, and the path of
// the BIOS from boot record to catalog to boot file. The library that writes images
// ignores some errors of writing.
func verifyISO(r io.ReaderAt, want map[string]fileHash) error {
	img, err := readISO(r)
	if err != nil {
		return err
	}
	if len(img.files) != len(want) {
		return fmt.Errorf("it has %d files instead of %d", len(img.files), len(want))
	}
	for _, f := range img.files {
		boot := f.name == strings.ToUpper(bootFile)
		got, err := hashAt(r, f.offset, f.size, boot)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if got != want[f.name] {
			return fmt.Errorf("%s has changed", f.name)
		}
		if f.offset+f.size > img.size {
			return fmt.Errorf("%s is behind the end of the volume", f.name)
		}
		if boot {
			if err := verifyBoot(r, img, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyBoot checks the boot catalog and the boot information table.
func verifyBoot(r io.ReaderAt, img *isoImage, f isoFile) error {
	cat := make([]byte, 64)
	if img.catalog == 0 {
		return errors.New("it has no boot record")
	}
	if _, err := r.ReadAt(cat, img.catalog); err != nil {
		return fmt.Errorf("boot catalog: %w", err)
	}
	var sum uint16
	for i := 0; i < 32; i += 2 {
		sum += binary.LittleEndian.Uint16(cat[i:])
	}
	if cat[0] != 1 || cat[30] != 0x55 || cat[31] != 0xaa || sum != 0 {
		return errors.New("the boot catalog's validation entry is wrong")
	}
	where := uint32(f.offset / sector)
	if cat[32] != 0x88 || cat[33] != 0 || binary.LittleEndian.Uint32(cat[40:]) != where {
		return errors.New("the boot catalog does not name the boot file")
	}
	data := make([]byte, f.size)
	if _, err := r.ReadAt(data, f.offset); err != nil {
		return fmt.Errorf("boot file: %w", err)
	}
	if len(data) < tableEnd {
		return errors.New("the boot file is too short")
	}
	var words uint32
	for rest := data[tableEnd:]; len(rest) > 0; {
		var w [4]byte
		rest = rest[copy(w[:], rest):]
		words += binary.LittleEndian.Uint32(w[:])
	}
	le := binary.LittleEndian.Uint32
	if le(data[8:]) != firstDescriptor || le(data[12:]) != where ||
		le(data[16:]) != uint32(f.size) || le(data[20:]) != words {
		return errors.New("the boot information table is wrong")
	}
	return nil
}
