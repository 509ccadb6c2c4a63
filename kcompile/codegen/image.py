"""Where `fingerprint` stood: scripts that compare the keys of compiled code read it from here."""

from kcompile.ir.digest import fingerprint as fingerprint
