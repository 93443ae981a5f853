"""Index sets of the 478-point MediaPipe face topology.

"Left" and "right" are the subject's own; in an unmirrored picture the subject's right is on
the left side. Source: MediaPipe face mesh connections (google-ai-edge/mediapipe, Apache-2.0).
"""

from __future__ import annotations

from typing import Final

COUNT: Final = 478

UPPER_INNER_LIP: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_OUTER_LIP: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_OUTER_LIP: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
MOUTH_CORNERS: Final = (61, 291)
UPPER_LIP: Final = tuple(sorted({*UPPER_INNER_LIP[1:-1], *UPPER_OUTER_LIP[1:-1], 73, 72, 11, 302, 303, 38, 268, 12}))
LOWER_LIP: Final = tuple(sorted({*LOWER_INNER_LIP[1:-1], *LOWER_OUTER_LIP[1:-1], 90, 180, 85, 16, 315, 404, 320, 15}))

# Each eye from the corner on the picture's left to the corner on its right.
RIGHT_UPPER_LID: Final = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_LOWER_LID: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_UPPER_LID: Final = (362, 398, 384, 385, 386, 387, 388, 466, 263)
LEFT_LOWER_LID: Final = (362, 382, 381, 380, 374, 373, 390, 249, 263)
EYES: Final = ((RIGHT_UPPER_LID, RIGHT_LOWER_LID), (LEFT_UPPER_LID, LEFT_LOWER_LID))
RIGHT_IRIS: Final = (468, 469, 470, 471, 472)  # centre first
LEFT_IRIS: Final = (473, 474, 475, 476, 477)
IRISES: Final = (RIGHT_IRIS, LEFT_IRIS)

RIGHT_BROW: Final = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW: Final = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
JAW: Final = (288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58)
NOSE: Final = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 48, 278, 115, 344, 220, 440, 45, 275)

# Points that expression hardly moves: temples, forehead, nose, eye corners. The upper oval is left out: on
# portraits with hair over it the landmark model only guesses it.
RIGID: Final = (
    *(454, 234, 356, 127, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 94),
    *(33, 133, 362, 263, 71, 301, 68, 298, 104, 333, 69, 299),
)
FOREHEAD: Final = 10
CHIN: Final = 152
NOSE_TIP: Final = 4
