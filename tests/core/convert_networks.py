"""Networks as others write them, in ordinary torch."""

import torch
from torch import nn
from torch.nn import functional


class DnCNN(nn.Module):
    """Zhang et al. 2017: predicts the noise, which is subtracted."""

    def __init__(self, channels: int = 1, width: int = 64, depth: int = 17) -> None:
        super().__init__()
        layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        layers.append(nn.Conv2d(width, channels, 3, padding=1, bias=False))
        self.dncnn = nn.Sequential(*layers)

    def forward(self, x):
        return x - self.dncnn(x)


class Residual(nn.Module):
    """He et al. 2016, with a strided convolution and a 1 x 1 shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class ResUNet(nn.Module):
    """Residual blocks, strided convolutions down, transposed ones up, skips by concatenation."""

    def __init__(self, channels: int = 1, widths=(32, 48, 64)) -> None:
        super().__init__()
        self.stem = Residual(channels, widths[0])
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for above, below in zip(widths[:-1], widths[1:], strict=True):
            self.down.append(Residual(above, below, stride=2))
            self.up.insert(0, nn.ConvTranspose2d(below, above, 2, stride=2))
            self.merge.insert(0, Residual(2 * above, above))
        self.last = nn.Conv2d(widths[0], channels, 1)

    def forward(self, x):
        skips = []
        y = self.stem(x)
        for down in self.down:
            skips.append(y)
            y = down(y)
        for up, merge in zip(self.up, self.merge, strict=True):
            y = merge(torch.cat([skips.pop(), up(y)], dim=1))
        return x + self.last(y)


class CareUNet(nn.Module):
    """The U-Net of CAREamics: double convolutions, max-pooling, upsampling, skips, 1 x 1 at the end.

    Krull et al. 2019 and Weigert et al. 2018 give the shape.
    """

    def __init__(
        self, channels: int = 1, width: int = 32, depth: int = 2, batch_norm: bool = True,
        mode: str = "bilinear",
    ) -> None:  # fmt: skip
        super().__init__()
        self.batch_norm = batch_norm
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        inputs = channels
        for level in range(depth):
            self.encoder.append(self.block(inputs, width * 2**level))
            inputs = width * 2**level
        self.bottleneck = self.block(inputs, 2 * inputs, inputs)
        self.upsample = nn.Upsample(
            scale_factor=2, mode=mode, **({"align_corners": False} if mode == "bilinear" else {})
        )
        for level in reversed(range(depth)):
            narrow = width * 2 ** max(level - 1, 0)
            self.decoder.append(self.block(2 * width * 2**level, width * 2**level, narrow))
        self.final_conv = nn.Conv2d(width, channels, 1)
        self.final_activation = nn.Identity()

    def block(self, inputs: int, middle: int, outputs: int | None = None) -> nn.Sequential:
        layers = []
        for a, b in ((inputs, middle), (middle, outputs or middle)):
            layers.append(nn.Conv2d(a, b, 3, padding=1))
            layers += [nn.BatchNorm2d(b)] if self.batch_norm else []
            layers += [nn.ReLU(inplace=True), nn.Dropout2d(0.2)]
        return nn.Sequential(*layers)

    def forward(self, x):
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for block in self.decoder:
            x = block(torch.cat([self.upsample(x), skips.pop()], 1))
        return self.final_activation(self.final_conv(x))


class Attention(nn.Module):
    """What else is common: an image skip, depthwise convolutions, gates, learned slopes, padding."""

    def __init__(self, channels: int = 3, width: int = 24) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect")
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.slope = nn.PReLU(width)
        self.norms = nn.ModuleList([nn.InstanceNorm2d(width, affine=True), nn.GroupNorm(4, width)])
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 4, 1), nn.ReLU(),
            nn.Conv2d(width // 4, width, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.where = nn.Conv2d(width, 1, 3, padding="same")
        self.up = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
        self.down = nn.Conv2d(width + channels, width, 4, stride=2, padding=1)
        self.mix = nn.Conv2d(2 * width + channels, channels, 3, padding=1)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, image):
        x = functional.leaky_relu(self.first(image), 0.1)
        x = x + functional.gelu(self.norms[0](self.depthwise(x)))
        y = self.slope(self.norms[1](self.down(torch.cat([x, image], 1))))
        y = functional.dropout2d(y, 0.1, training=self.training)
        y = y * self.squeeze(y)
        y = y * torch.sigmoid(self.where(y)) + y.mean(dim=1, keepdim=True)
        y = functional.interpolate(self.up(y), size=x.shape[2:], mode="bilinear") / 2
        y = functional.pad(y, [1, 1, 1, 1], mode="reflect")
        y = functional.avg_pool2d(y, 3, stride=1)
        return self.scale * self.mix(torch.cat([x, y, image * 2], dim=1)) + image
