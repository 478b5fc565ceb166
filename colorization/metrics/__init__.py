"""What is measured of colours: distances, SSIM, LPIPS, FID, intervals, how a photo looks.

May import colour and merging.
"""
