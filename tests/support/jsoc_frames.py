"""What the stand-in for JSOC keeps: records with their keywords, and the files that it makes of them."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from astropy.io import fits

SERIES = "hmi.sharp_cea_720s"
_BLANK = -(2**31)


def as_t_rec(moment: datetime) -> str:
    return moment.strftime("%Y.%m.%d_%H:%M:%S_TAI")


def as_time(text: str) -> datetime:
    day, _, clock = text.strip().removesuffix("_TAI").partition("_")
    parts = [int(p) for p in (clock or "0:0:0").split(":")] + [0, 0]
    return datetime(*(int(p) for p in day.split("."))) + timedelta(hours=parts[0], minutes=parts[1], seconds=parts[2])


@dataclass
class Frame:
    """One record of the series: its keywords as texts, and the field that its file holds."""

    harp: int
    moment: datetime
    keywords: dict[str, str]
    field_gauss: np.ndarray
    segment: str = "Br"
    made: dict[str, bytes] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, str, str]:
        return self.harp, as_t_rec(self.moment), self.segment

    @property
    def record(self) -> str:
        return f"{SERIES}[{self.harp}][{as_t_rec(self.moment)}]{{{self.segment}}}"

    def file(self, kind: str) -> bytes:
        """The file as JSOC stores it (``as-is``: nothing but the image) or exports it (``fits``: all keywords)."""
        if kind not in self.made:
            self.made[kind] = fits_bytes(self.field_gauss, self.keywords if kind == "fits" else {})
        return self.made[kind]


def fits_bytes(field_gauss: np.ndarray, keywords: dict[str, str]) -> bytes:
    """An image as SHARPs come: whole hundredths of a gauss, Rice compressed, behind an empty unit, with checksums."""
    missing = np.isnan(field_gauss)
    whole = np.where(missing, _BLANK, np.round(np.where(missing, 0, field_gauss) * 100)).astype(np.int32)
    header = fits.Header()
    for key, value in keywords.items():
        name = {"DATE__OBS": "DATE-OBS"}.get(key, key)
        try:
            header[name] = value if name == "NOAA_ARS" else int(value, 0)
        except ValueError:
            try:
                number = float(value)
                header[name] = value if number != number else number
            except ValueError:
                header[name] = value
    header["BUNIT"] = "Mx/cm^2"
    unit = fits.CompImageHDU(whole, header, compression_type="RICE_1")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        units = fits.HDUList([fits.PrimaryHDU(), unit])
        units.writeto(buffer)
        # the scale belongs to the stored whole numbers: it is written beside them, not applied to them
        with fits.open(io.BytesIO(buffer.getvalue()), disable_image_compression=True) as raw:
            raw[1].header["BSCALE"], raw[1].header["BZERO"], raw[1].header["BLANK"] = 0.01, 0.0, _BLANK
            buffer = io.BytesIO()
            raw.writeto(buffer, checksum=True)
    return buffer.getvalue()


def frame(harp: int, moment: datetime, field_gauss: np.ndarray, **keywords: str) -> Frame:
    """A frame with the keywords of a real one; `keywords` replaces some."""
    ny, nx = field_gauss.shape
    latitude = (-1) ** harp * (5.0 + harp % 23)
    known = {
        "HARPNUM": str(harp),
        "T_REC": as_t_rec(moment),
        "T_OBS": as_t_rec(moment - timedelta(seconds=4)),
        "DATE__OBS": (moment - timedelta(seconds=140)).strftime("%Y-%m-%dT%H:%M:%S.00"),
        "QUALITY": "0x00000000",
        "NOAA_AR": str(11000 + harp),
        "NOAA_ARS": str(11000 + harp),
        "NOAA_NUM": "1",
        **{"CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "degree", "CUNIT2": "degree"},
        **{"CRPIX1": f"{(nx + 1) / 2:.6f}", "CRPIX2": f"{(ny + 1) / 2:.6f}"},
        **{"CRVAL1": f"{(harp * 37) % 360:.6f}", "CRVAL2": f"{latitude:.6f}"},
        **{"CDELT1": "0.030000", "CDELT2": "0.030000", "CRLN_OBS": f"{(harp * 37 - 20) % 360:.6f}"},
        **{"CRLT_OBS": "-6.500000", "DSUN_OBS": "148424154623.09", "RSUN_OBS": "967.2337", "RSUN_REF": "696000000"},
        **{"CAR_ROT": "2121", "TELESCOP": "SDO/HMI", "INSTRUME": "HMI_SIDE1"},
        **{"USFLUX": "1.234500e+22", "R_VALUE": "nan", "AREA_ACR": "812.25", "CMASK": "nan"},
        **{"LATFWTPO": f"{latitude + 1:.4f}", "LONFWTPO": "21.5", "LATFWTNE": f"{latitude - 1:.4f}"},
        **{"LONFWTNE": "18.5", "LAT_FWT": f"{latitude:.4f}", "LON_FWT": "20.0"},
    }
    return Frame(harp, moment, {**known, **keywords}, np.asarray(field_gauss, dtype=np.float64))
