"""DWPose (Yang et al., 2023): YOLOX-l finds people, RTMPose-l gives each 133 points, of which 68 lie on the face; on onnxruntime."""
